"""What a person can do about a failure of a rank: the end of the sentence that names it."""

MEMORY = "give it fewer layers, a shorter context or less KV cache"
FULL_SHARED_MEMORY = (
    "remove files that nobody uses from it, or enlarge it (docker run --shm-size=1g, or --ipc=host)"
)
KILLED = f"start it again, or, if dmesg shows that memory ran out, {MEMORY}"
STOPPED = "leave it running (kill -CONT continues it), or raise {variable} to look into it longer"
SLOW = "if it is only slow, raise {variable}"
REPORT = (
    "start it again; if it comes back, report it with what `hetctl doctor --bundle FILE` writes"
)
BROKEN = (
    "correct what its traceback in the log names, or report it with `hetctl doctor --bundle FILE`"
)
INSTALLATION = "`hetctl doctor` says what is missing"

_OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError", "can't allocate memory", "MemoryError")
_MISSING = ("ImportError", "ModuleNotFoundError")


def of_error(error: str) -> str:
    """The remedy for an exception, given as ``ClassName: message``."""
    if any(sign in error for sign in _OUT_OF_MEMORY):
        return MEMORY
    if error.startswith(_MISSING):
        return INSTALLATION
    return BROKEN
