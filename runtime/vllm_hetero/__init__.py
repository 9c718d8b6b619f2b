"""A vLLM plugin that runs GPU ranks and CPU ranks in one engine."""
