"""How good pictures of the small models are after 1, 2, 4, 8 ... steps, and what one takes.

    OMP_NUM_THREADS=1 PIXWARD_EMOJI_FONT=.../NotoColorEmoji.ttf python benchmarks/denoise_quality.py

No reward is tuned for here. 252 prompts (42 animals, on five grounds and on none), a picture of each at a fixed seed:
the share on which the judge sees animal and ground, and the Frechet distance of the judge's features from those of
drawn pictures. For comparison: drawn pictures of another seed, through the codec and not. Time is a picture's, in a
batch of 32 on one thread, decoding included.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from predict_results import write
from torch import Tensor, nn

from pixward.data.emoji import emoji_world
from pixward.data.worlds import WorldSettings
from pixward.denoise.builtin import builtin_judge, builtin_pipeline, builtin_prompts
from pixward.denoise.evaluate import Looks, looked
from pixward.denoise.modules import SHARE, SIZE
from pixward.denoise.painter import painter
from pixward.image import save
from pixward.metrics.frechet import frechet_distance
from pixward.policies.pipelines import PainterSettings
from pixward.rewards.alignment import ClassAlignment

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "denoise_quality.json"


@torch.no_grad()
def features(judge: nn.Module, pictures: Tensor) -> Tensor:
    """What the judge has just before its last layer, ``(B, D)``."""
    body = nn.Sequential(*list(judge.children())[:-1])
    return torch.cat([body(part) for part in pictures.split(64)])


def measured(name: str, models: Path | None, steps: int, guidance: float, seed: int) -> tuple[Tensor, float]:
    """Pictures of all prompts, and seconds for each of them."""
    drawn = painter(builtin_pipeline(name, models), PainterSettings(steps=steps, guidance=guidance))
    drawn.policy.eval()
    looks = Looks(builtin_prompts("all", plain=False), 1, seed=seed)
    looked(drawn, Looks(looks.prompts[:32], 1))
    began = time.process_time()
    pictures = looked(drawn, looks)
    return pictures, (time.process_time() - began) / len(pictures)


def drawn_by_font(seed: int) -> Tensor:
    """A picture of every prompt as the world has it."""
    world = emoji_world(WorldSettings(size=SIZE, scale=SHARE), seed=seed, split="all")
    rng = np.random.default_rng(seed)
    pictures = [torch.from_numpy(world.draw(prompt, rng)) for prompt in world.prompts]
    return torch.stack(pictures).permute(0, 3, 1, 2).float() / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--quick", action="store_true", help="one seed, fewer cases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scorer = builtin_judge(options.models)
    real = torch.cat([features(scorer.classifier, drawn_by_font(seed)) for seed in range(100, 108)])
    seeds = (0,) if options.quick else (0, 1, 2)
    judge = Judged(scorer, list(builtin_prompts("all", plain=False)), real)
    plain = [drawn_by_font(seed) for seed in range(len(seeds))]
    codec = builtin_pipeline("emoji", options.models).vae
    with torch.no_grad():
        coded = [
            (codec.decode(codec.encode(one * 2 - 1).latent_dist.mean).sample / 2 + 0.5).clamp(0, 1) for one in plain
        ]
    rows = [
        {"pictures": "drawn by the font", **judge(plain)},
        {"pictures": "the same, through the codec", **judge(coded)},
    ]
    cases = [("emoji-lcm", steps, 4.0) for steps in (1, 2, 4, 8, 16)]
    cases += [("emoji", steps, 4.0) for steps in (1, 2, 4, 8, 16, 50)]
    cases += [(name, steps, scale) for name, steps in (("emoji-lcm", 8), ("emoji", 50)) for scale in (1.0, 2.0, 8.0)]
    shown = []
    for name, steps, scale in cases:
        # The slow ones with one seed: they say nothing about time that the others do not.
        several = seeds if scale == 4 else seeds[:1]
        found = [measured(name, options.models, steps, scale, 5_000_000 + 10_000 * seed) for seed in several]
        row = {"pictures": name, "steps": steps, "guidance": scale, **judge([one for one, _ in found])}
        rows.append({**row, "milliseconds of a picture": round(1000 * sum(took for _, took in found) / len(found), 1)})
        print(rows[-1], flush=True)
        if scale == 4 and steps in (1, 2, 4, 8, 50):
            shown.append(torch.cat(list(found[0][0][::21]), 2))
    write(options.out, COMMAND, {"seed": list(seeds), "rows": rows, "notes": NOTES})
    large = torch.cat(shown, 1).repeat_interleave(3, 1).repeat_interleave(3, 2)
    save(options.out.with_suffix(".png"), large.permute(1, 2, 0).numpy(), force=True)


class Judged:
    """What the judge and its features say of sets of pictures, one set for each seed."""

    def __init__(self, scorer: ClassAlignment, prompts: list[str], real: Tensor) -> None:
        self.scorer, self.prompts, self.real = scorer, prompts, real

    def __call__(self, pictures: list[Tensor]) -> dict[str, Any]:
        """Means over seeds, and the range of the first."""
        right = [float(self.scorer.accuracy(one, self.prompts).mean()) for one in pictures]
        classifier: Any = self.scorer.classifier
        away = [frechet_distance(features(classifier, one), self.real) for one in pictures]
        span = [f"{min(right):.3f}", f"{max(right):.3f}"] if len(right) > 1 else None
        mean = round(sum(right) / len(right), 3)
        return {"accuracy": mean, "from, to": span, "Frechet distance": round(sum(away) / len(away), 2)}


COMMAND = [
    "python recipes/denoise.py --phase codec    # then judge, diffusion, consistency, ship: what ships",
    "OMP_NUM_THREADS=1 PIXWARD_EMOJI_FONT=.../NotoColorEmoji.ttf python benchmarks/denoise_quality.py",
]
NOTES = [
    "252 prompts, all of which the models know; three seeds at guidance 4, one at others. Accuracy is the share of "
    "pictures in which the judge sees animal and ground; the models were not trained on it. The Frechet distance is of "
    "the judge's last features, 252 pictures against 2,016 drawn ones.",
    "The consistency model draws after 1 step what diffusion needs 4 to 8 for. From 8 steps on diffusion is the nearer "
    "to drawn pictures; more than 2 steps bring the consistency model no nearer.",
    "With guidance models draw animals that are recognised more often than those of the font; as a whole pictures are "
    "nearest to drawn ones at a guidance of 2.",
    "The picture: twelve of the prompts, emoji-lcm after 1, 2, 4 and 8 steps, then emoji after 1, 2, 4, 8 and 50.",
]


if __name__ == "__main__":
    main()
