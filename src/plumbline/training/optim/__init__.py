"""Losses, optimizers, learning-rate schedules, averaged weights."""
