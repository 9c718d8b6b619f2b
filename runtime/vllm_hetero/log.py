"""Loggers that vLLM's logging configuration covers: it formats only its own tree."""

import logging


def get_logger(name: str) -> logging.Logger:
    """The logger ``vllm.<name>``, with vLLM's format, level and rank prefix."""
    return logging.getLogger(f"vllm.{name}")
