"""A start for the encoder: what stands at each place of the picture, before anything is said about it.

The paper's policies begin from encoders that were trained on millions of labelled pictures (ImageNet-21k, Objects365).
Ours begins from scenes: each place tells the class and the box of what its centre shows. It takes minutes and saves
hours, since a decoder learns to read places that know something much sooner than places that know nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.data.synth import SceneBatch, Scenes
from pixward.policies.sequence import SequencePolicy
from pixward.train.pretrain import schedule


def place_targets(shown: SceneBatch, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the centres of ``side * side`` places show.

    Returns:
        classes ``(B, side^2)`` int64 (objects first, then stuff), boxes ``(B, side^2, 4)`` as shares of the picture,
        and which places have a box at all, ``(B, side^2)`` bool: those of objects.
    """
    step = shown.images.shape[-1] // side
    ids = shown.segments.ids[:, step // 2 :: step, step // 2 :: step].flatten(1)
    classes = shown.segments.labels.gather(1, ids - 1)
    count = shown.boxes.boxes.shape[1]
    objects = (ids <= count) & shown.boxes.valid.gather(1, (ids - 1).clamp_max(count - 1))
    index = torch.where(objects, ids - 1, 0)[..., None].expand(-1, -1, 4)
    return classes, shown.boxes.boxes.gather(1, index), objects


def pretrain_encoder(
    policy: SequencePolicy, scenes: Scenes, steps: int, batch: int = 32, learning_rate: float = 1e-3
) -> Iterator[dict[str, float]]:
    """Train the encoder of ``policy`` in place; yields ``loss``, ``accuracy`` and ``box_error`` of each step.

    Args:
        policy: any head; only stem, places and encoder learn.
        scenes: step ``i`` sees the next ``batch`` of them.
        steps: updates.
        batch: scenes each.
        learning_rate: AdamW's peak.
    """
    side = policy.settings.image // policy.settings.patch
    head = nn.Linear(policy.settings.width, len(scenes.settings.labels) + 4)
    weights = [*head.parameters(), *(w for name, w in policy.named_parameters() if name in policy.encoder_state())]
    optimizer = torch.optim.AdamW(weights, learning_rate, weight_decay=0.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * schedule(step, steps, 50, 0.02)
        shown = scenes.batch(range(step * batch, (step + 1) * batch))
        classes, boxes, objects = place_targets(shown, side)
        said = head(policy.train().features(shown.images))
        logits, corners = said[..., :-4], said[..., -4:].sigmoid()
        apart = (corners - boxes).abs().sum(2)[objects].mean()
        loss = F.cross_entropy(logits.flatten(0, 1), classes.flatten()) + 4 * apart
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        right = (logits.argmax(2) == classes)[objects].float().mean()
        yield {"loss": loss.item(), "accuracy": right.item(), "box_error": apart.item() / 4}
