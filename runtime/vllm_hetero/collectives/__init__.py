"""Collectives of tensor-parallel groups that mix GPU and CPU ranks.

The members of one device class work among themselves with vLLM's own communicator (NCCL
and custom all-reduce on GPUs, its SHM manager on CPUs). Between the classes, members
publish tensors in :mod:`lanes <vllm_hetero.collectives.lane>` of one pinned shared-memory
segment, which all members of the other class read; :mod:`vllm_hetero.collectives.bridge`
holds the algorithms and :mod:`vllm_hetero.collectives.communicator` what vLLM calls.
"""
