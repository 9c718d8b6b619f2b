"""Plan -> environment and ``vllm serve`` processes, their health and their end."""
