"""Policies: modules that decide."""
