"""Files of a training: the run folder, checkpoints, resuming, ensembles."""
