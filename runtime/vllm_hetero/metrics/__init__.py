"""What each rank does, for Prometheus, beside vLLM's own metrics.

Each rank counts in a small file that it maps (:mod:`~vllm_hetero.metrics.record`). The API
server reads all of them when ``/metrics`` is asked for (:mod:`~vllm_hetero.metrics.collector`);
:mod:`~vllm_hetero.metrics.catalogue` says what there is. ``docs/metrics.md`` is for users.
"""
