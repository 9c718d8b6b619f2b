"""Which requests share a batch, how many batches are in flight, how long a chunk is."""
