"""Data sets: the documented `.pt` folder, the packed store, splits, orders and loaders."""
