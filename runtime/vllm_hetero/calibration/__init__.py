"""Measures what one device does, with the kernels that an engine's ranks run.

``python -m vllm_hetero.calibration RANK [--kernels]`` is a process in the environment of rank
``RANK`` of the rank map: bound like it, with its threads, memory and preloaded libraries. With
``--kernels`` it imports what a rank imports. It says that it is ready, and then answers one
command after the other, JSON lines on its standard input and output
(:mod:`vllm_hetero.calibration.channel`).

A measurement returns samples by a number: rows, sequences or bytes, or 0 where there is
nothing to vary. All samples are taken after a warm-up, in base units.
"""

Samples = dict[int, list[float]]
"""Repeated measurements, in the order in which they were taken."""
