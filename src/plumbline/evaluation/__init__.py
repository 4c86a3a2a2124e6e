"""Evaluation of predictions: metrics, comparison with untrained guesses, plots, report."""
