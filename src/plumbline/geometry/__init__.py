"""Scans and graphs from meshes: numpy only, no torch."""
