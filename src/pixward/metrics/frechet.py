"""The Frechet distance between two sets of features: how far generated pictures are from real ones as a whole."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Between normal distributions with the means and covariances of ``(N, D)`` and ``(M, D)``; 0 for equal ones.

    The squared 2-Wasserstein distance, ``|m - m'|^2 + tr(A + B - 2 sqrt(A B))`` (Dowson and Landau 1982), as in FID, in
    squared units of the features. It falls with the number of items: compare only distances of as many.

    Raises:
        ValueError: features of other shapes, or fewer than two items.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(
            f"features must be (N, D) and (M, D) of two items or more, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    first, second = first.double(), second.double()
    means = (first.mean(0) - second.mean(0)).square().sum()
    one, two = (_covariance(part) for part in (first, second))
    # tr sqrt(A B) = tr sqrt(sqrt(A) B sqrt(A)), of which the latter is symmetric, so that its roots are real.
    values, vectors = torch.linalg.eigh(one)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ two @ root).clamp_min(0).sqrt().sum()
    return float((means + one.trace() + two.trace() - 2 * cross).clamp_min(0))


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred.T @ centred / len(features)
