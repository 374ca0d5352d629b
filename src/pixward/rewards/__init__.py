"""Rewards: plain callables `(output, target) -> (B, *P)`, higher is better."""
