"""Train the pixel policies that ship with pixward: denoising and restoration.

    python recipes/pixel.py noise --start runs/denoiser/denoiser.safetensors --out runs/noise

Photos of BSDS500's train and test parts (val holds BSD68 and is never trained on). Starts from the encoder of
recipes/pixel_denoiser.py, as PixelRL's authors start from IRCNN. Validates on the 32 photos of val that are not in
BSD68, every pixel taking its best action. One thread; resumes with the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pixward.data.corrupt import gaussian_noise, salt_pepper, text_overlay
from pixward.data.crops import Crops, read_photos
from pixward.data.pairs import photo_files
from pixward.envs.pixel import PixelEnv
from pixward.pixel.run import improve
from pixward.pixel.tasks import Tasks, noise_tasks, salt_pepper_tasks, text_tasks
from pixward.policies.pixel import PixelPolicy, PixelSettings, action_set, save_pixel_policy
from pixward.policies.pixel_half import noise_plane
from pixward.policies.weights import load_weights
from pixward.run import Run, seed_everything
from pixward.train.a2c import A2CSettings, a2c

GUESS = ("net.encoder", "net.out")
"""Names of the tensors that make a policy's guess begin with one of these."""
Judge = Callable[[PixelPolicy], dict[str, float]]


def photos(data: Path) -> tuple[list[Tensor], list[Tensor]]:
    """For training, and for validation: grey, none of the latter in BSD68."""
    folder = data / "photos" / "bsds500"
    known = {path.stem for path in (data / "pixelrl" / "text_test").iterdir()}
    held_out = [path for path in photo_files([folder / "val"]) if path.stem not in known]
    return (
        read_photos(photo_files([folder / "train", folder / "test"]), grey=True),
        read_photos(held_out[::2], grey=True),
    )


def middle(pictures: list[Tensor], side: int = 128) -> Tensor:
    """The middle of each picture, ``(N, 1, side, side)`` in [0, 1]."""
    cut = []
    for picture in pictures:
        top, left = ((size - side) // 2 for size in picture.shape[1:])
        cut.append(picture[:, top : top + side, left : left + side])
    return torch.stack(cut).float() / 255


def judge(task: str, clean: Tensor, sigmas: tuple[float, ...]) -> Judge:
    """PSNR on pictures with a damage that is always the same."""
    cases: dict[str, tuple[Tensor, float]] = {}
    generator = torch.Generator().manual_seed(1)
    if task == "noise":
        cases = {f"{s:g}": (gaussian_noise(clean, s, generator)[0], s) for s in sigmas}
    elif task == "text":
        cases = {"text": (text_overlay(clean, generator=generator)[0], 0.0)}
    else:
        cases = {f"{d:g}": (salt_pepper(clean, d, generator)[0], 0.0) for d in (0.1, 0.5, 0.9)}

    def run(policy: PixelPolicy) -> dict[str, float]:
        policy.eval()
        scores = {}
        for name, (image, sigma) in cases.items():
            plane = noise_plane(sigma, image) if policy.settings.condition else None
            trace = improve(policy, image, condition=plane)
            after = trace.psnr(clean)
            scores |= {f"psnr_{name}": round(after[-1], 3), f"psnr_{name}_step1": round(after[1], 3)}
        policy.train()
        return scores

    return run


def start(policy: PixelPolicy, path: Path, parts: tuple[str, ...] = ("net.",)) -> None:
    """Take every tensor of ``path``, a denoiser or a policy, that has a place and the same shape here.

    ``parts`` are beginnings of the names of those that may be taken.
    """
    try:
        tensors, _ = load_weights(path, "denoiser")
        tensors = {f"net.{name}": value for name, value in tensors.items()}
    except ValueError:
        tensors, _ = load_weights(path, "pixel")
    own = policy.state_dict()
    for name, value in tensors.items():
        if not name.startswith(parts):
            continue
        if name in own and own[name].shape == value.shape:
            own[name].copy_(value)
        elif name == "net.head.weight" or name == "net.head.bias":
            _widen(own[name], value)


def _widen(own: Tensor, value: Tensor) -> None:
    """A head for more actions: each output stands for one of four pixels of an action, so they come first."""
    own[: len(value)].copy_(value)
    own[len(value) :].zero_()


def tasks_of(task: str, crops: Crops, sigma: tuple[float, float], condition: bool) -> Tasks:
    if task == "noise":
        return noise_tasks(crops, sigma, condition=condition)
    return text_tasks(crops) if task == "text" else salt_pepper_tasks(crops)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("noise", "text", "salt-pepper"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=None, help="a denoiser or a policy to begin with")
    parser.add_argument("--sigma", type=float, nargs=2, default=(5.0, 60.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--design", choices=("half", "dilated"), default="half")
    parser.add_argument("--blind", action="store_true", help="no foresight: the policy is not shown its actions")
    parser.add_argument("--forgets", action="store_true", help="encode the image anew at every step")
    parser.add_argument("--hold-guess", action="store_true", help="take from START only its guess, and hold it")
    parser.add_argument("--actions", default="restore")
    parser.add_argument("--gradient", choices=("all", "sampled"), default="all")
    parser.add_argument("--kernel", choices=("identity", "gaussian", "learned", "zero"), default="identity")
    parser.add_argument("--horizon", type=int, default=5)
    parser.add_argument("--price", type=float, default=0.0)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--entropy", type=float, default=0.002)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    seed_everything(args.seed)
    told = args.task == "noise" and args.sigma[0] != args.sigma[1]
    settings = PixelSettings(
        actions=args.actions,
        horizon=args.horizon,
        sigma=args.sigma[0] if args.task == "noise" and not told else None,
        origin="pixward, recipes/pixel.py",
        design=args.design,
        foresight=args.design == "half" and not args.blind,
        remembers=not args.forgets,
        condition=int(args.task == "noise" and (told or args.design == "half")),
        noise=tuple(args.sigma) if args.task == "noise" else None,
    )
    policy = PixelPolicy(settings).to(memory_format=torch.channels_last)
    if args.start is not None:
        start(policy, args.start, GUESS if args.hold_guess else ("net.",))
    if args.hold_guess:
        for name, weight in policy.named_parameters():
            weight.requires_grad_(not name.startswith(GUESS))
    training, held_out = photos(args.data)
    tasks = tasks_of(args.task, Crops(training, args.side), tuple(args.sigma), settings.condition == 1)
    score = judge(args.task, middle(held_out), (15.0, 25.0, 50.0) if told else (args.sigma[0],))
    plan = A2CSettings(
        updates=args.updates,
        batch=args.batch,
        learning_rate=args.rate,
        entropy=args.entropy,
        gradient=args.gradient,
        kernel=args.kernel,
        bfloat16=True,
        checkpoint_every=args.every,
    )
    env = PixelEnv(action_set(args.actions), args.horizon, price=args.price)
    with Run(args.out, resume=True, tensorboard=False) as run:
        for line in a2c(env, policy, tasks, run, plan, lambda: score(policy)):
            print({name: round(value, 3) for name, value in line.items()}, flush=True)
    save_pixel_policy(args.out / "policy.safetensors", settings, policy.state_dict(), torch.float16)


if __name__ == "__main__":
    main()
