"""Environments: batched, on device, explicit state."""
