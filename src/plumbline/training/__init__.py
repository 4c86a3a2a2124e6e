"""The training program: task, start-up, checkpoints, tracking, progress."""
