"""Trainings by several processes."""
