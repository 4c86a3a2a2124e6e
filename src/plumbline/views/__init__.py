"""A prediction drawn: as a page to turn in a browser, and as a file for other viewers."""
