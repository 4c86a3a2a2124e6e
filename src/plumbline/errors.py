"""The exceptions that mean "the user can fix this".

Every refusal of bad input is an :class:`InputError` (or a subclass): one sentence that says what is
wrong, where, and how to fix it. The command line prints that sentence and exits with code 2. Any
other exception is a bug in the program and keeps its traceback.
"""


class InputError(ValueError):
    """Bad input from the user; the message says what is wrong, where, and how to fix it."""


class MeshError(InputError):
    """A mesh that has no trustworthy centre of mass (open, inconsistent, empty, unreadable)."""


class SampleError(InputError):
    """A stored sample that breaks the data format (missing key, wrong shape, NaN, bad edge)."""


class DamagedStoreError(InputError):
    """A file of a packed store that is missing, cut short, or has wrong content."""
