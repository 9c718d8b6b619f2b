"""Finds out what the machine is: NVML, ``/sys``, ``/proc`` and cgroups. No torch."""
