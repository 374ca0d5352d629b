"""Metrics: rewards that nobody trains on."""
