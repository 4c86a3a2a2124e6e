"""From stored graphs to the batches that a model reads."""
