"""From meshes, built-in solids and real scans to a data set."""
