"""Readers of mesh files: vertices and triangles of everything that a file holds, each part in its place."""
