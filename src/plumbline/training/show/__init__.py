"""What a training shows and records: start-up, progress, trackers, the final report."""
