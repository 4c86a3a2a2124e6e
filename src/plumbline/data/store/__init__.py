"""The packed store: writing, reading and checking memory-mapped files of graphs."""
