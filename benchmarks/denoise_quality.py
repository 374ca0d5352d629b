"""How good pictures of the small models are after 1, 2, 4, 8 ... steps, and what one takes.

    OMP_NUM_THREADS=1 PIXWARD_EMOJI_FONT=.../NotoColorEmoji.ttf python benchmarks/denoise_quality.py

No reward is tuned for here. 252 prompts (42 animals, on five grounds and on none), a picture of each at a fixed seed:
the share on which the judge sees animal and ground, and the Frechet distance of the judge's features from those of
drawn pictures. For comparison: drawn pictures of another seed, through the codec and not. Time is a picture's, in a
batch of 32 on one thread, decoding included.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixward.bench.provenance import commit, hardware, today
from pixward.data.emoji import emoji_world
from pixward.data.worlds import WorldSettings
from pixward.denoise.builtin import builtin_judge, builtin_pipeline, builtin_prompts
from pixward.denoise.evaluate import Looks, looked
from pixward.denoise.modules import SHARE, SIZE
from pixward.denoise.painter import painter
from pixward.files import save_text
from pixward.metrics.frechet import frechet_distance
from pixward.policies.pipelines import PainterSettings

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
    prompts = list(builtin_prompts("all", plain=False))
    real = torch.cat([features(scorer.classifier, drawn_by_font(seed)) for seed in range(100, 108)])
    seeds = (0,) if options.quick else (0, 1, 2)

    def figures(pictures: list[Tensor]) -> dict[str, Any]:
        right = [float(scorer.accuracy(one, prompts).mean()) for one in pictures]
        away = [frechet_distance(features(scorer.classifier, one), real) for one in pictures]
        return {"accuracy": right, "frechet": [float(value) for value in away]}

    plain = [drawn_by_font(seed) for seed in range(len(seeds))]
    codec = builtin_pipeline("emoji", options.models).vae
    with torch.no_grad():
        coded = [
            (codec.decode(codec.encode(one * 2 - 1).latent_dist.mean).sample / 2 + 0.5).clamp(0, 1) for one in plain
        ]
    rows = [{"what": "drawn by the font", **figures(plain)}, {"what": "through the codec", **figures(coded)}]
    cases = [("emoji-lcm", steps, 4.0) for steps in (1, 2, 4, 8, 16)]
    cases += [("emoji", steps, 4.0) for steps in (1, 2, 4, 8, 16, 50)]
    cases += [(name, steps, scale) for name, steps in (("emoji-lcm", 8), ("emoji", 50)) for scale in (1.0, 2.0, 8.0)]
    for name, steps, scale in cases:
        found = [measured(name, options.models, steps, scale, 5_000_000 + 10_000 * seed) for seed in seeds]
        row = {"what": name, "steps": steps, "guidance": scale, **figures([one for one, _ in found])}
        row |= {"seconds": [took for _, took in found]}
        rows.append(row)
        print(row, flush=True)
    told = {"commit": commit(), "hardware": hardware(), "date": today(), "seeds": list(seeds), "rows": rows}
    save_text(options.out, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
