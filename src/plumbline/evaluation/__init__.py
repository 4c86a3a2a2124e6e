"""Evaluation of predictions: metrics, comparison with untrained baselines, plots, report."""
