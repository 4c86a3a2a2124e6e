"""One file per verb of the command line; commands never import each other."""
