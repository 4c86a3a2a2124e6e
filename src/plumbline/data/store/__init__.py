"""The packed store: memory-mapped files of graphs, written, read, checked."""
