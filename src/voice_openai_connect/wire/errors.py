"""The one error of this room."""


class WireError(ValueError):
    """The other side sent something that cannot be read. The message says what was wrong, never what was sent."""
