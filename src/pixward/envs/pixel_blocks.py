"""Pixels that decide together, so that trial and error can tell what a decision did.

Saliency belongs to a whole picture: what one pixel does among thousands changes nothing that can be measured, and what
thousands do by independent draws is always the same. So while a policy learns, the pixels of a block that are on the
same side of the mask and about as bright share one draw, and answer together for what happened about their block. What
is learnt is still a policy for every single pixel, which runs by itself afterwards.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.envs.pixel import PixelEnv
from pixward.ops.color import luma
from pixward.policies.pixel import PixelPolicy
from pixward.types import State

SIDES, TONES = 2, 3


class Blocks:
    """How pixels fall into groups: by block, side of the mask (plane 0 of the condition), and tone.

    Groups of a picture form a map ``(B, SIDES * TONES * h, w)``: one map of blocks ``h x w`` below the other.
    """

    def __init__(self, side: int = 8) -> None:
        """``side`` of a block, in pixels."""
        self.side = side

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Blocks of a picture of ``size`` (height, width), those at the rim maybe smaller."""
        return -(-size[0] // self.side), -(-size[1] // self.side)

    def index(self, state: State) -> Tensor:
        """The group of each pixel, ``(B, H * W)``, counted through the flattened map."""
        image = state["image"]
        height, width = image.shape[2:]
        rows, columns = self.grid((height, width))
        tone = (luma(image)[:, 0] * TONES).long().clamp(0, TONES - 1)
        group = (state["condition"][:, 0] > 0.5).long() * TONES + tone
        y = torch.arange(height, device=image.device)[:, None] // self.side
        x = torch.arange(width, device=image.device) // self.side
        return ((group * rows + y) * columns + x).flatten(1)

    def mean(self, values: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Means of ``values`` ``(B, C, H, W)`` over each group, ``(B, C, h, w)``; and how full a group's block is.

        The second is ``(B, h, w)``, 0 to 1. The mean over a group without pixels is 0.
        """
        rows, columns = self.grid((values.shape[2], values.shape[3]))
        index = self.index(state)
        shape = (len(values), SIDES * TONES * rows, columns)
        flat = values.flatten(2)
        total = flat.new_zeros(*flat.shape[:2], shape[1] * columns)
        total = total.scatter_add(2, index.unsqueeze(1).expand_as(flat), flat)
        count = flat.new_zeros(total.shape[0], total.shape[2]).scatter_add(1, index, torch.ones_like(flat[:, 0]))
        mean = total / count.clamp_min(1).unsqueeze(1)
        return mean.view(shape[0], -1, *shape[1:]), (count / self.side**2).view(shape)


class BlockEnv:
    """A :class:`PixelEnv` in which one decision is a map ``(B, h, w)`` of groups' actions.

    A group's reward is the sum over ``about`` x ``about`` blocks around it of the mean reward of their pixels, in units
    of its root mean square over the batch and at most ``limit`` of them: a few pictures in which much happens would
    drown the others. It is 0 where a group has no pixels, and less where it has few, as it has little to say there.
    """

    def __init__(self, env: PixelEnv, blocks: Blocks, about: int = 3, limit: float = 3.0) -> None:
        """Raises ValueError for an even ``about``."""
        if about % 2 == 0:
            raise ValueError(f"about must be odd, got {about}")
        self.env, self.blocks, self.about, self.limit = env, blocks, about, limit
        self.horizon = env.horizon

    def reset(self, batch: State) -> State:
        """The first state; the batch holds a condition whose plane 0 is the mask."""
        return self.env.reset(batch)

    @torch.no_grad()
    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """The next state and the reward, both as said above."""
        height, width = state["image"].shape[2:]
        chosen = action.flatten(1).gather(1, self.blocks.index(state)).view(-1, height, width)
        following, reward = self.env.step(state, chosen)
        side, about = self.blocks.side, self.about
        near = F.avg_pool2d(reward[:, None], side, ceil_mode=True)
        near = F.avg_pool2d(near, about, 1, about // 2) * about**2
        share = self.blocks.mean(reward[:, None], state)[1]
        near = near[:, 0].repeat(1, SIDES * TONES, 1)
        spread = near[share > 0].square().mean().sqrt().clamp_min(1e-8)
        return following, (near / spread).clamp(-self.limit, self.limit) * share.sqrt()

    def counterfactual(self, state: State) -> Tensor:
        """Not to be had: what one group does changes what others gain.

        Raises:
            NotImplementedError: always; use the sampled gradient.
        """
        raise NotImplementedError("saliency is not a matter of single pixels: train with gradient='sampled'")

    def image(self, state: State) -> Tensor:
        """The picture as it is now."""
        return self.env.image(state)


class BlockPolicy(nn.Module):
    """``policy`` as a trainer in a :class:`BlockEnv` sees it: a group's distribution is the mean of its pixels'.

    Its baseline is a table, one number for each step, side and tone: the value branch of ``policy`` is not trained. On
    shared layers it was not stable here, since rewards are far smaller than the noise of a value that is being learnt.
    """

    def __init__(self, policy: PixelPolicy, blocks: Blocks, rate: float = 30.0) -> None:
        """``rate`` is how many times faster the table learns than the network, whose rate suits weights."""
        super().__init__()
        self.policy, self.blocks, self.rate = policy, blocks, rate
        self.worth = nn.Parameter(torch.zeros(policy.settings.horizon, SIDES * TONES))

    def distribution(self, state: State, memory: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log-probabilities ``(B, A, h, w)``, baseline ``(B, h, w)``, and the memory of ``policy``.

        The mean is of log-probabilities, normalised again: that of the logits.
        """
        log_probs, _, memory = self.policy.distribution(state, memory)
        pooled, share = self.blocks.mean(log_probs.float(), state)
        step = state["step"].long().clamp_max(len(self.worth) - 1)
        worth = self.rate * self.worth[step].repeat_interleave(share.shape[1] // (SIDES * TONES), 1)
        return F.log_softmax(pooled, 1), worth.unsqueeze(2) * share.sqrt(), memory
