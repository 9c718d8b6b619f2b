"""Which cost model makes a prediction."""

PREDICTOR_VERSION = 6
"""Grows with every change of what is predicted (``tests/planner/test_predictor.py`` notices one):
what past runs say about another cost model says nothing about this one."""
