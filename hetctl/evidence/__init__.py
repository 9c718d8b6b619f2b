"""Keeps what runs were predicted to do and did, so that later plans know."""
