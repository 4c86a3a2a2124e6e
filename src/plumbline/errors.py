"""The one exception that means "the user can mend this".

Every refusal of bad input is an :class:`InputError` (or a subclass): one sentence that says what is
wrong, where, and how to mend it. The command line prints that sentence and exits with code 2; any
other exception is a defect of the program and keeps its traceback.
"""


class InputError(ValueError):
    """What the user gave cannot be used; the message says what, where, and how to mend it."""


class MeshError(InputError):
    """A mesh that has no trustworthy centre of mass (open, inconsistent, empty, unreadable)."""


class SampleError(InputError):
    """A stored sample that breaks the data format (missing key, wrong shape, NaN, bad edge)."""


class DamagedStoreError(InputError):
    """A file of a packed store is missing, cut short, or does not hold what it should."""
