"""Editors: black boxes that render an image with slider values."""
