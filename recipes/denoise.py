"""The small world's models: a codec, a diffusion model, the consistency model distilled from it, and a judge.

    export OMP_NUM_THREADS=1 PIXWARD_EMOJI_FONT=.../NotoColorEmoji.ttf
    python recipes/denoise.py --phase codec --out runs/denoise
    python recipes/denoise.py --phase judge --out runs/denoise
    python recipes/denoise.py --phase witness --out runs/denoise
    python recipes/denoise.py --phase diffusion --out runs/denoise
    python recipes/denoise.py --phase consistency --out runs/denoise
    python recipes/denoise.py --phase ship --out runs/denoise

Each phase needs those above it, goes on where it stopped, and writes its modules, as diffusers does, into OUT. Pictures
of 32 pixels show 42 animals on five grounds and none. ``--steps`` shortens a phase.

On one core of an EPYC, seed 0: codec about 8 minutes, 27.4 dB on pictures it had not seen; judge and witness 10 minutes
each, 92 % of such pictures; diffusion 28 minutes; consistency 19. docs/results/denoise.md measures what they draw.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.data.emoji import emoji_world
from pixward.data.worlds import World, WorldSettings, read_prompts
from pixward.denoise.builtin import JUDGE_WIDTH, builtin_folder
from pixward.denoise.fitting import CodecFit, ConsistencyFit, DiffusionFit, JudgeFit, fitting_loss
from pixward.denoise.modules import SHARE, SIZE, new_codec, new_denoiser, new_words, read
from pixward.errors import PixwardError
from pixward.files import save_text
from pixward.rewards.alignment import small_classifier
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.workers import Workers

PICTURES, CHECKED = 30_000, 1_000
"""Pictures that latents are kept of, and how many others figures are measured on."""

SETTINGS = {
    "codec": LikelihoodSettings(4_000, learning_rate=2e-3, warmup=100, average=0.998, checkpoint_every=500),
    "judge": LikelihoodSettings(5_000, learning_rate=2e-3, warmup=100, average=0.998, checkpoint_every=500),
    "diffusion": LikelihoodSettings(6_500, learning_rate=1e-3, warmup=200, average=0.999, checkpoint_every=500),
    "consistency": LikelihoodSettings(2_400, learning_rate=4e-4, warmup=100, average=0.995, checkpoint_every=250),
}


def world_of() -> World:
    return emoji_world(WorldSettings(size=SIZE, scale=SHARE), seed=0, split="all")


def fit(phase: str, module: nn.Module, batches: Callable[[int], Mapping[str, Any]], options: Any, measure: Any) -> None:
    """Train ``module`` to the end of its steps, or until the minutes are over."""
    from dataclasses import replace

    settings = SETTINGS["judge" if phase == "witness" else phase]
    if options.steps:
        settings = replace(settings, steps=options.steps)
    workers = Workers("bf16" if phase in ("codec", "judge", "witness") else "no")
    run = Run(options.out / phase, resume=True) if workers.first else None
    began = time.monotonic()
    for line in likelihood(module, batches, settings, run, workers, measure, fitting_loss):
        print(phase, {name: round(value, 4) for name, value in line.items()}, flush=True)
        if options.minutes and time.monotonic() - began > 60 * options.minutes:
            raise SystemExit(f"{phase}: stopped after {line['step']} steps; the same command goes on")


def pictures(world: World, seed: int, start: int, count: int) -> tuple[Tensor, list[str]]:
    """Pictures that no phase shares with another: ``seed`` tells them apart."""
    other = World(world.prompts, world.groups, world.settings, seed=seed, split=world.split, font=world.font)
    return other.batch(range(start, start + count))


def codec_phase(options: Any) -> None:
    world, codec = world_of(), new_codec()
    held, _ = pictures(world, 9, 0, CHECKED)

    @torch.no_grad()
    def measure(_: int) -> dict[str, float]:
        back = through(codec, held)
        return {"held_psnr": float((-10 * (back - held).square().mean((1, 2, 3)).log10()).mean())}

    def batches(index: int) -> dict[str, Any]:
        return {"images": pictures(world, 1, index * 32, 32)[0]}

    fit("codec", CodecFit(codec), batches, options, measure)
    codec.eval()
    latents = torch.cat([encoded(codec, part) for part in pictures(world, 2, 0, 2_000)[0].split(100)])
    codec.register_to_config(scaling_factor=float(1 / latents.std()))
    codec.save_pretrained(options.out / "vae")


@torch.no_grad()
def encoded(codec: Any, images: Tensor) -> Tensor:
    """Means of the latents, as the codec has them."""
    means: Tensor = codec.encode(images * 2 - 1).latent_dist.mean
    return means


@torch.no_grad()
def through(codec: Any, images: Tensor) -> Tensor:
    """Pictures as the codec gives them back."""
    parts = [codec.decode(encoded(codec, part)).sample for part in images.split(100)]
    return (torch.cat(parts).float() / 2 + 0.5).clamp(0, 1)


def load_codec(options: Any) -> Any:
    from diffusers import AutoencoderKL

    if not (options.out / "vae").exists():
        raise PixwardError("there is no codec yet: run --phase codec first")
    return AutoencoderKL.from_pretrained(options.out / "vae").eval().requires_grad_(False)


def judge_phase(options: Any, name: str = "judge") -> None:
    """``witness`` is a second judge, of other pictures and another start, that no reward ever asks."""
    first = 3 if name == "judge" else 5
    torch.manual_seed(options.seed + first - 3)
    world, codec = world_of(), load_codec(options)
    sizes = tuple(len(group) for group in world.groups)
    classifier = small_classifier(sum(sizes), JUDGE_WIDTH)
    held, texts = pictures(world, 9, 0, CHECKED)
    coded, said = through(codec, held), read_prompts(texts, world.groups)

    @torch.no_grad()
    def measure(_: int) -> dict[str, float]:
        module = JudgeFit(classifier, sizes)
        plain, back = module.log_prob({"images": held, "said": said}), module.log_prob({"images": coded, "said": said})
        return {"held_accuracy": float(plain[1]["accuracy"]), "coded_accuracy": float(back[1]["accuracy"])}

    def batches(index: int) -> dict[str, Any]:
        images, texts = pictures(world, first, index * 64, 64)
        # What diffusion models draw went through the codec, and is blurred and noisy.
        generator = torch.Generator().manual_seed(index)
        soft = F.interpolate(F.avg_pool2d(images[32:], 2), scale_factor=2, mode="bilinear")
        share = torch.rand(32, 1, 1, 1, generator=generator)
        images = torch.cat([images[:32], images[32:] + share * (soft - images[32:])])
        images[::2] = through(codec, images[::2])
        noise = 0.08 * torch.rand(64, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
        return {"images": (images + noise).clamp(0, 1), "said": read_prompts(texts, world.groups)}

    fit(name, JudgeFit(classifier, sizes), batches, options, measure)
    from safetensors.torch import save_file

    save_file(classifier.state_dict(), options.out / f"{name}.safetensors")


def kept_latents(options: Any, world: World) -> tuple[Tensor, list[str]]:
    """Latents of unit variance of all pictures to learn from, and their prompts; made once."""
    place = options.out / "latents.pt"
    if not place.exists():
        codec, parts, texts = load_codec(options), [], []
        for start in range(0, PICTURES, 500):
            images, said = pictures(world, 4, start, 500)
            parts.append(encoded(codec, images) * codec.config.scaling_factor)
            texts += said
        torch.save({"latents": torch.cat(parts), "texts": texts}, place)
    kept = torch.load(place)
    return kept["latents"], kept["texts"]


def shuffled(count: int, batch: int) -> Callable[[int], Tensor]:
    """Batch ``i`` of a walk through ``count`` items in an order that changes with every round."""

    def at(index: int) -> Tensor:
        turn, place = divmod(index, count // batch)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(turn))
        return order[place * batch : (place + 1) * batch]

    return at


def diffusion_phase(options: Any) -> None:
    world = world_of()
    torch.manual_seed(options.seed)
    tokenizer, words = new_words(world.texts)
    unet = new_denoiser()
    latents, texts = kept_latents(options, world)
    tokens, empty = read(tokenizer, texts), read(tokenizer, [""])
    at = shuffled(len(latents), 64)

    def batches(index: int) -> dict[str, Any]:
        chosen = at(index)
        return {"latents": latents[chosen], "tokens": tokens[chosen], "empty": empty}

    def measure(_: int) -> dict[str, float]:
        for module, name in ((unet, "unet"), (words, "text_encoder"), (tokenizer, "tokenizer")):
            module.save_pretrained(options.out / name)
        return {}

    fit("diffusion", DiffusionFit(unet, words), batches, options, measure)


def consistency_phase(options: Any) -> None:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    world = world_of()
    teacher = UNet2DConditionModel.from_pretrained(options.out / "unet").eval()
    words = CLIPTextModel.from_pretrained(options.out / "text_encoder").eval()
    tokenizer = CLIPTokenizer.from_pretrained(options.out / "tokenizer")
    student = new_denoiser(guided=True)
    student.load_state_dict(teacher.state_dict(), strict=False)
    latents, texts = kept_latents(options, world)
    with torch.no_grad():
        seen = {text: words(read(tokenizer, [text]))[0][0] for text in (*world.texts, "")}
    at = shuffled(len(latents), 64)

    def batches(index: int) -> dict[str, Any]:
        chosen = at(index)
        prompt = torch.stack([seen[texts[place]] for place in chosen.tolist()])
        return {"latents": latents[chosen], "prompt": prompt, "unconditional": seen[""][None]}

    def measure(_: int) -> dict[str, float]:
        student.save_pretrained(options.out / "unet_lcm")
        return {}

    fit("consistency", ConsistencyFit(student, teacher), batches, options, measure)


def ship_phase(options: Any) -> None:
    """Half precision, which eight-bit pictures do not notice, into what pixward ships."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file, save_file
    from transformers import CLIPTextModel, CLIPTokenizer

    target = builtin_folder()
    codec = load_codec(options)
    unets = {name: UNet2DConditionModel.from_pretrained(options.out / name) for name in ("unet", "unet_lcm")}
    words = CLIPTextModel.from_pretrained(options.out / "text_encoder", dtype=torch.float32)
    for name, module in {"vae": codec, **unets, "text_encoder": words}.items():
        module.half().save_pretrained(target / name)
        config = json.loads((target / name / "config.json").read_text())
        config.pop("_name_or_path", None)  # of this machine
        save_text(target / name / "config.json", json.dumps(config, indent=2) + "\n")
    CLIPTokenizer.from_pretrained(options.out / "tokenizer").save_pretrained(target / "tokenizer")
    judge = load_file(options.out / "judge.safetensors")
    save_file({name: value.half() for name, value in judge.items()}, target / "judge.safetensors")
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(f"{target}: {size / 1e6:.1f} MB")


def phases() -> Iterator[tuple[str, Callable[[Any], None]]]:
    yield "codec", codec_phase
    yield "judge", judge_phase
    yield "witness", partial(judge_phase, name="witness")
    yield "diffusion", diffusion_phase
    yield "consistency", consistency_phase
    yield "ship", ship_phase


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phase", choices=[name for name, _ in phases()], required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/denoise"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0, help="0: as many as the phase has")
    parser.add_argument("--minutes", type=float, default=0, help="stop at the first checkpoint after these")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    dict(phases())[options.phase](options)


if __name__ == "__main__":
    main()
