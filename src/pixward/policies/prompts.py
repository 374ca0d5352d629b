"""Prompts as a diffusion pipeline's network is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pixward.policies.pipelines import is_xl

_KEPT = 1_000  # prompts whose encoding is remembered: 77 x 768 numbers of four bytes each are 0.24 MB


class PromptReader:
    """Prompts as the network is shown them, each read once and by itself: no prompt hangs on its neighbours."""

    def __init__(self, pipeline: Any, doubled: bool, size: tuple[int, int]) -> None:
        """``doubled``: the empty prompt is wanted as well. ``size``: height and width of pictures in pixels."""
        self.pipeline, self.doubled, self.size, self.xl = pipeline, doubled, size, is_xl(pipeline)
        self._known: dict[str, dict[str, Tensor]] = {}
        self._empty: dict[str, Tensor] = {}

    def forget(self) -> None:
        """Read all prompts anew: the encoder is another one."""
        self._known, self._empty = {}, {}

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What :class:`pixward.policies.denoiser.DenoiserPolicy` reads of a state, ``(B, ...)`` each."""
        if self.doubled and not self._empty:
            self._empty = self._encode("", True)
        rows = []
        for prompt in prompts:
            if prompt not in self._known:
                self._known[prompt] = self._encode(prompt, False)
                if len(self._known) > _KEPT:
                    del self._known[next(iter(self._known))]
            rows.append({**self._known[prompt], **self._empty})
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _encode(self, prompt: str, unconditional: bool) -> dict[str, Tensor]:
        pipeline, device = self.pipeline, self.pipeline.text_encoder.device
        said = pipeline.encode_prompt(
            prompt, device=device, num_images_per_prompt=1, do_classifier_free_guidance=unconditional
        )
        if unconditional:
            named = {"unconditional": said[1][0]}
            return named if not self.xl else {**named, "unconditional_pooled": said[3][0]}
        if not self.xl:
            return {"prompt": said[0][0]}
        wide = pipeline.text_encoder_2.config.projection_dim
        sizes = pipeline._get_add_time_ids(self.size, (0, 0), self.size, said[0].dtype, wide)
        return {"prompt": said[0][0], "pooled": said[2][0], "sizes": sizes[0].to(device)}
