"""The documented layout, a folder of ``.pt`` files, and its packed cache."""
