"""Data: photos, goals and labels."""
