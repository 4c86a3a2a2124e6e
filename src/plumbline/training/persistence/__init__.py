"""What of a training outlives it: the run folder, checkpoints, resuming, ensembles."""
