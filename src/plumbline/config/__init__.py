"""The flags: one frozen dataclass per verb, one field per flag.

A field's name is the flag, the YAML key and, below the commands, the keyword argument. Its ``option``
declares everything else, for the command line and for YAML. Config objects go no further than the commands.
"""
