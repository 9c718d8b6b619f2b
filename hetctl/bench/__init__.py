"""Load, measurement, statistics and reports."""
