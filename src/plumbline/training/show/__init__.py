"""Output and records of a training: start-up, progress, trackers, the final report."""
