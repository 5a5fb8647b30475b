"""The one error of the lab."""


class LabError(Exception):
    """Something in the lab did not work; the message says what, and holds the output of what failed."""
