"""ASGI middleware in front of vLLM's API server, for ``vllm serve --middleware NAME``."""
