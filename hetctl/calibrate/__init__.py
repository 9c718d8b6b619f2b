"""Measures this machine: what ``hetctl probe --calibrate`` runs.

Each device gets one process, started and bound like the rank that an engine would run there
(:mod:`vllm_hetero.calibration` is what runs in it). The processes are asked for one
measurement after the other; what fails is named and left out.
"""
