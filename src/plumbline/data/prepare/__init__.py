"""Preparation of data sets from meshes, built-in solids and real scans."""
