"""The flags: one frozen dataclass per verb, one field per flag.

A field's name is the flag, the YAML key and, below the commands, the keyword argument; its ``option`` says
everything else, for the command line and YAML alike. Config objects stop at the commands.
"""
