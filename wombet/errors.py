"""The one exception that is meant to be read by the person who typed the input."""


class InputError(ValueError):
    """What was asked for is wrong: the message is one sentence that says what, where, and what would be right."""
