"""Turn stored graphs into the batches that a model reads."""
