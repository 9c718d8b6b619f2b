"""Prints what runtime.py measured."""


def layer_bytes(config: dict) -> int:
    """Weights of one layer in bf16."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    heads = config["num_attention_heads"] + 2 * config["num_key_value_heads"]
    attention = hidden * head * (heads + config["num_attention_heads"])
    return 2 * (attention + 3 * hidden * inner + 2 * hidden)


def head_bytes(config: dict) -> int:
    """Weights of the layer that makes logits, in bf16."""
    return 2 * config["hidden_size"] * config["vocab_size"]


def print_table(report: dict, config: dict) -> None:
    measured = report["engines"]
    for name, result in measured.items():
        outcome = result.get("error") or f"{result['start_s']:.0f} s to start"
        print(f"{name:16} {outcome}")
        for rate in result.get("dram_read_bytes_per_s", ()):
            print(f"{'':16} the CPU rank reads memory at {rate / 1e9:.1f} GB/s")
    print(
        f"{'engine':16} {'sequences':>9} {'step':>8} {'CPU':>8} {'GPU':>8} {'glue':>8} "
        f"{'CPU/DRAM':>9} {'GPU/share':>9} {'decode':>9} {'/prefetch':>9} "
        f"{'+ prompts':>9} {'/prefetch':>9}"
    )
    prefetch = measured.get("prefetch", {}).get("batches", {})
    for name, result in measured.items():
        for count, batch in result.get("batches", {}).items():
            row = f"{name:16} {count:>9} {milliseconds(batch['step_s'])}"
            if name.startswith("hybrid"):
                gpu = measured.get("gpu", {}).get("batches", {}).get(count)
                row += stage_columns(name, batch, report, config, gpu)
            else:
                row += " " * 46
            other = prefetch.get(count)
            for rate in (decode_rate, whole_rate):
                row += f" {rate(count, batch):9.1f}"
                row += f" {rate(count, batch) / rate(count, other):9.2f}" if other else f"{'-':>10}"
            print(row)


def decode_rate(count: str, batch: dict) -> float:
    """Output tokens per second while all sequences decode."""
    return int(count) / batch["step_s"]


def whole_rate(count: str, batch: dict) -> float:
    """Output tokens per second of the long generation, its prompts' time included."""
    return batch["output_tokens_per_s"]


def stage_columns(name: str, batch: dict, report: dict, config: dict, gpu: dict | None) -> str:
    """CPU stage, GPU stage, glue, rate over DRAM, GPU stage over its share of ``gpu``."""
    cpu_first = name == "hybrid"
    cpu_s, other_s = batch["stages_s"] if cpu_first else reversed(batch["stages_s"])
    read = report["cpu_layers"] * layer_bytes(config)
    if not cpu_first:
        read += head_bytes(config)
    dram = max(report["engines"][name]["dram_read_bytes_per_s"])
    share = "-"
    if gpu is not None:
        (whole,), (head,) = gpu["stages_s"], gpu["heads_s"]
        part = (whole - head) * (1 - report["cpu_layers"] / report["layers"])
        share = f"{other_s / (part + (head if cpu_first else 0)):.2f}"
    return (
        f" {milliseconds(cpu_s)} {milliseconds(other_s)} {milliseconds(batch['glue_s'])} "
        f"{read / cpu_s / dram:9.2f} {share:>9}"
    )


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:6.1f}ms"
