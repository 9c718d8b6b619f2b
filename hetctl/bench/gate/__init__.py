"""Did this commit make it slower? Two sets of runs of one workload, and an answer."""
