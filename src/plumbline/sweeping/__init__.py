"""Sweeps: trainings of their own that search for the best flags."""
