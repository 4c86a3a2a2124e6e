"""The training loop: steps, precision, clean stops."""
