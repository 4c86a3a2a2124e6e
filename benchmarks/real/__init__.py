"""A set of real scans with known centres of mass, rebuilt from git checkouts that the user has."""
