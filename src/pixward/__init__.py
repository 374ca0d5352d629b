"""Tune anything that makes or reads images towards a reward."""

__version__ = "0.1.0"
