"""How good an answer is: metrics, untrained baselines, plots, report."""
