"""Meshes, simulated scans and graphs: numpy only, no torch."""
