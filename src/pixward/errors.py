"""The one error that is meant for a person."""

from __future__ import annotations


class PixwardError(Exception):
    """Something that the user can mend.

    The message is one clear line: what is wrong, with the file or value that caused it, and how to mend it.
    Commands print it and exit with a non-zero code; a programming mistake raises a built-in error instead.
    """
