"""Rewards for pictures by name: a literal dict, and ``module:callable`` for people who bring their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from pixward.commands.callables import load_callable
from pixward.data.emoji import ANIMALS
from pixward.data.worlds import read_prompts
from pixward.denoise.builtin import builtin_judge
from pixward.denoise.modules import SIZE
from pixward.errors import PixwardError
from pixward.judging import PictureReward
from pixward.metrics.bertscore import BertScore
from pixward.rewards.alignment import CaptionAlignment, Captioner, ClassAlignment
from pixward.rewards.clip import Clip, ClipSimilarity, load_aesthetic
from pixward.rewards.image import colourfulness, compressibility, incompressibility

CLIP = "openai/clip-vit-large-patch14"
"""The CLIP that LAION's aesthetic head was made for."""
WORDS = ("microsoft/deberta-xlarge-mnli", 40)
"""DDPO's language model for BERTScore, and its layer."""


@dataclass(frozen=True)
class Asked:
    """What a reward may depend on.

    Attributes:
        size: height and width of the pictures.
        prompts: of the run.
        scorer: --scorer: weights that the user brings.
        clip: --clip: CLIP for the aesthetic score.
        device: where pictures are drawn, and judged.
    """

    size: tuple[int, int]
    prompts: tuple[str, ...]
    scorer: str | None = None
    clip: str = CLIP
    device: str = "cpu"


def reward_named(name: str, asked: Asked) -> PictureReward:
    """The reward that ``name`` stands for; errors and logs call it ``name``.

    Raises:
        PixwardError: no such reward, or one that cannot judge these prompts or lacks weights.
    """
    if name in REWARDS:
        return _called(name, REWARDS[name](asked))
    known = f"known are {', '.join(REWARDS)}, or module:callable for your own"
    return _called(name, load_callable(name, "reward", known))


def judge_of(asked: Asked) -> ClassAlignment | None:
    """The classifier that comes with pixward, where it can say whether pictures show what these prompts say."""
    if _unjudged(asked):
        return None
    try:
        return _judge(asked)
    except PixwardError:  # somebody's install without the weights: figures go without accuracy then
        return None


def _jpeg(asked: Asked) -> PictureReward:
    return _plain(partial(compressibility, floor=True))


def _incompressible(asked: Asked) -> PictureReward:
    return _plain(partial(incompressibility, floor=True))


def _colour(asked: Asked) -> PictureReward:
    return _plain(colourfulness)


def _aesthetic(asked: Asked) -> PictureReward:
    if asked.scorer is None:
        raise PixwardError(
            "the reward aesthetic needs the head of LAION's improved-aesthetic-predictor: get "
            "sac+logos+ava1-l14-linearMSE.pth and give it as --scorer FILE, with its CLIP as --clip (a folder, or "
            f"{CLIP} from the hub)"
        )
    return _plain(load_aesthetic(asked.clip, asked.scorer, asked.device))


def _align(asked: Asked) -> PictureReward:
    if asked.scorer is not None:
        return _plain(_by_model(asked.scorer, asked.device))
    why = _unjudged(asked)
    if why is not None:
        raise PixwardError(
            f"the reward align: {why}; give --scorer MODEL, a CLIP or a model that captions (a folder, or an id of "
            f"the hub such as {CLIP} or llava-hf/llava-1.5-7b-hf)"
        )
    return _plain(_judge(asked))


REWARDS: dict[str, Callable[[Asked], PictureReward]] = {
    "jpeg": _jpeg,
    "incompressible": _incompressible,
    "aesthetic": _aesthetic,
    "colour": _colour,
    "align": _align,
}
"""What --reward can be, beside ``module:callable``; RLCM's and DDPO's four, and colourfulness."""


def _by_model(name: str, device: str) -> Callable[[Tensor, Sequence[str]], Tensor]:
    """Alignment by a user's model: CLIP's own cosine, or DDPO's captions for one that speaks."""
    try:
        from transformers import AutoConfig
    except ImportError:
        raise PixwardError("the reward align needs transformers: pip install 'pixward[denoise]'") from None
    try:
        kind = str(AutoConfig.from_pretrained(name).model_type)
    except (OSError, ValueError) as error:
        raise PixwardError(f"--scorer {name}: {str(error).strip().splitlines()[0]}") from None
    if kind == "clip":
        return ClipSimilarity(Clip.load(name).to(device))
    captioner, words = Captioner.load(name), BertScore.load(*WORDS)
    captioner.model.to(device)
    words.model.to(device)
    return CaptionAlignment(captioner, words)


def _judge(asked: Asked) -> ClassAlignment:
    found = builtin_judge()
    return replace(found, classifier=found.classifier.to(asked.device))  # type: ignore[attr-defined]


def _unjudged(asked: Asked) -> str | None:
    """Why the classifier that comes with pixward cannot judge, or None."""
    if asked.size != (SIZE, SIZE):
        return f"the judge that comes with pixward knows pictures of {SIZE} pixels, not {asked.size[0]}"
    said = read_prompts(asked.prompts, (tuple(ANIMALS),))
    mute = [prompt for prompt, row in zip(asked.prompts, said.tolist(), strict=True) if row[0] < 0]
    return f"the judge that comes with pixward knows no animal in the prompt {mute[0]!r}" if mute else None


def _plain(reward: Callable[[Tensor, Any], Tensor]) -> PictureReward:
    """A reward ``(output, target)``, its gradient kept, as one of pictures, prompts and metadata."""

    def scored(images: Tensor, prompts: Sequence[str], metadata: Sequence[Any]) -> Tensor:
        return reward(images, prompts)

    return scored


def _called(name: str, reward: PictureReward) -> PictureReward:
    def scored(images: Tensor, prompts: Sequence[str], metadata: Sequence[Any]) -> Any:
        return reward(images, prompts, metadata)

    scored.__name__ = name
    return scored
