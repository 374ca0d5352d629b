"""Train the denoiser whose encoder the pixel policies start from, and which can be one of their actions.

    python recipes/pixel_denoiser.py --data ../shared/data --out runs/denoiser --minutes 40

PixelRL's authors start from a published denoiser (IRCNN); its weights have no licence, so pixward trains its own:
supervised, grey, any Gaussian noise of sigma 5 to 60 that the condition plane names; or, with --damage, written text or
salt and pepper, for the policies of those tasks. Resumes with the same command.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from pixward.data.crops import Crops, read_photos
from pixward.data.pairs import photo_files
from pixward.pixel.tasks import Tasks, noise_tasks, salt_pepper_tasks, text_tasks
from pixward.policies.pixel_half import HalfDenoiser
from pixward.policies.weights import load_weights, save_weights
from pixward.run import Run, seed_everything


def start(net: HalfDenoiser, path: Path) -> None:
    """Take what has the same shape: all but the first layer, from a denoiser that is told more."""
    own = net.state_dict()
    for name, value in load_weights(path, "denoiser")[0].items():
        if own[name].shape == value.shape:
            own[name].copy_(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/denoiser"))
    parser.add_argument("--updates", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--damage", choices=("noise", "text", "salt-pepper"), default="noise")
    parser.add_argument("--start", type=Path, default=None, help="a denoiser to begin with")
    parser.add_argument("--clip", type=float, default=200.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seed_everything(0)
    photos = read_photos(photo_files(args.data / "photos" / "bsds500" / part for part in ("train", "test")), grey=True)
    crops = Crops(photos, args.side)
    tasks = {
        "noise": noise_tasks(crops, (5.0, 60.0), condition=True),
        "text": text_tasks(crops),
        "salt-pepper": salt_pepper_tasks(crops),
    }[args.damage]
    shape = {"width": 64, "depth": 5, "condition": int(args.damage == "noise")}
    net = HalfDenoiser(**shape).to(memory_format=torch.channels_last)
    if args.start is not None:
        start(net, args.start)
    with Run(args.out, resume=True, tensorboard=False) as run:
        learn(net, tasks, run, args)
    save_weights(args.out / "denoiser.safetensors", net.state_dict(), "denoiser", shape)


def learn(net: HalfDenoiser, tasks: Tasks, run: Run, args: argparse.Namespace) -> None:
    """Adam, the rate falling in a straight line; a log line and a checkpoint every 200 updates."""
    optimizer = torch.optim.Adam(net.parameters(), args.rate)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * (0.02 + 0.98 * max(0.0, 1 - step / args.updates))
    )
    parts = {"net": net, "optimizer": optimizer, "plan": plan}
    saved = run.load()
    for name, part in parts.items() if saved is not None else ():
        part.load_state_dict(saved[name])
    step, spent = (0, 0.0) if saved is None else (saved["step"], saved["seconds"])
    began, total, logged = time.process_time(), 0.0, step
    while step < args.updates:
        batch = tasks(args.batch)
        with torch.autocast("cpu", torch.bfloat16):
            result = net(batch["image"], batch.get("condition"))
        error = (result.float() - batch["clean"]).square().mean((1, 2, 3)) * 255**2
        loss = (error * batch.get("weight", torch.ones(()))).mean() / 25
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip)
        optimizer.step()
        plan.step()
        step += 1
        total += float((10 * (255**2 / error.detach().clamp_min(0.1)).log10()).mean())
        if step % 200 == 0 or step == args.updates:
            seconds = spent + time.process_time() - began
            run.log(step, {"psnr": total / (step - logged), "loss": float(loss.detach()), "cpu_seconds": seconds})
            total, logged = 0.0, step
            run.save({name: part.state_dict() for name, part in parts.items()} | {"step": step, "seconds": seconds})


if __name__ == "__main__":
    main()
