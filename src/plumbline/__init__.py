"""plumbline: an object's centre of mass from a partial scan of it."""

__version__ = "0.1.0"
