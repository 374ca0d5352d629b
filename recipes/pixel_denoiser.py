"""Train the denoiser whose encoder the pixel policies start from, and which can be one of their actions.

    python recipes/pixel_denoiser.py --data ../shared/data --out runs/denoiser --minutes 40

PixelRL's authors start from a published denoiser (IRCNN); its weights have no licence, so pixward trains its own:
supervised, grey, any Gaussian noise of sigma 5 to 60 that the condition plane names. Resumes with the same command.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from pixward.data.crops import Crops, read_photos
from pixward.data.pairs import photo_files
from pixward.policies.pixel_half import HalfDenoiser, noise_plane
from pixward.policies.weights import save_weights
from pixward.run import Run, seed_everything

LOW, HIGH = 5.0, 60.0


def noisy(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Noise of its own strength for each of ``clean``; and the strength, ``(B,)``."""
    sigma = LOW + (HIGH - LOW) * torch.rand(len(clean))
    return clean + torch.randn_like(clean) * (sigma / 255).view(-1, 1, 1, 1), sigma


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/denoiser"))
    parser.add_argument("--updates", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--clip", type=float, default=200.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seed_everything(0)
    photos = read_photos(photo_files(args.data / "photos" / "bsds500" / part for part in ("train", "test")), grey=True)
    crops = Crops(photos, args.side)
    net = HalfDenoiser().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), args.rate)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, args.updates, pct_start=0.05, final_div_factor=100)
    with Run(args.out, resume=True, tensorboard=False) as run:
        saved = run.load()
        step = 0
        if saved is not None:
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])
            plan.load_state_dict(saved["plan"])
            step = saved["step"]
        spent, began, total = (0.0 if saved is None else saved["seconds"]), time.process_time(), 0.0
        while step < args.updates:
            clean = crops(args.batch)
            image, sigma = noisy(clean)
            with torch.autocast("cpu", torch.bfloat16):
                result = net(image, noise_plane(sigma, image))
            error = (result.float() - clean).square().mean((1, 2, 3)) * 255**2
            # Strong noise would rule otherwise: the error grows with its power.
            loss = (error / sigma).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip)
            optimizer.step()
            plan.step()
            step += 1
            total += float((10 * (255**2 / error.detach()).log10()).mean())
            if step % 200 == 0 or step == args.updates:
                seconds = spent + time.process_time() - began
                run.log(step, {"psnr": total / 200, "loss": float(loss), "cpu_seconds": seconds})
                total = 0.0
                run.save(
                    {
                        "net": net.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "plan": plan.state_dict(),
                        "step": step,
                        "seconds": seconds,
                    }
                )
    save_weights(args.out / "denoiser.safetensors", net.state_dict(), "denoiser", {"width": 64, "depth": 10})


if __name__ == "__main__":
    main()
