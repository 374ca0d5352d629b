"""Solvers: given a photo, a goal and an editor, find the sliders. Every render is counted."""
