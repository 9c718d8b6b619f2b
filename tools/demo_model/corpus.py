"""The demo model's training text: our prose, and exercises made by rule.

It is one text of sections in a fixed order, so that a few words of context decide the
next one, also at a section's end: that is what makes the trained model's choices clear-cut.
"""

from pathlib import Path

# fmt: off
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on


def sections() -> list[str]:
    """All sections, in order; each ends with an empty line."""
    prose = Path(__file__).with_name("prose.txt").read_text(encoding="utf-8")
    essays = [text.strip() for text in prose.split("\n\n")]
    return [f"{s}\n\n" for s in (*essays, *_tables(), _placement(), _powers(), _countdown())]


def words(number: int) -> str:
    """``forty-two`` for 42; up to 999."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        ten, one = divmod(number, 10)
        return _TENS[ten - 2] + (f"-{_ONES[one]}" if one else "")
    hundred, rest = divmod(number, 100)
    return f"{_ONES[hundred]} hundred" + (f" and {words(rest)}" if rest else "")


def _tables() -> list[str]:
    return [
        f"The table of {words(a)}.\n"
        + "\n".join(f"{words(a)} times {words(b)} is {words(a * b)}." for b in range(1, 13))
        for a in range(2, 13)
    ]


def _placement() -> str:
    lines = []
    for layer in range(64):
        stage, place = divmod(layer, 8)
        device = f"cuda:{stage}" if stage < 4 else f"cpu node {stage - 4}"
        lines.append(f"Layer {layer} is number {place} of stage {stage} and runs on {device}.")
    return "A placement of sixty-four layers.\n" + "\n".join(lines)


def _powers() -> str:
    lines = [f"Two to the power of {words(n)} is {2**n}." for n in range(41)]
    return "Powers of two, as memory is counted.\n" + "\n".join(lines)


def _countdown() -> str:
    return "Counting down.\n" + ", ".join(words(n) for n in range(120, -1, -1)) + "."
