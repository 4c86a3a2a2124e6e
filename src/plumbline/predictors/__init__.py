"""Prediction of centres of mass from scans: trained models and untrained baselines."""
