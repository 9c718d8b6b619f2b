"""Machine + model + workload -> plan. Pure: no I/O, no torch, no NVML."""
