"""The documented folder of ``.pt`` files, and its packed cache."""
