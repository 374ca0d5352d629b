"""The page of system 4's figures, and what its benchmark reads and reckons."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts that import one another
import caffemodel  # noqa: E402
import denoisers  # noqa: E402
import pixel_denoise  # noqa: E402
import pixel_page  # noqa: E402
from pixel_words import NOISE, OWN_25, promises  # noqa: E402


def test_the_committed_page_is_what_the_writer_writes():
    folder = ROOT / "docs" / "results"
    assert (folder / "pixel.md").read_text() == pixel_page.page(folder), "run python benchmarks/pixel_page.py"


def test_a_part_becomes_a_section(tmp_path):
    rows = [{"case": "0.1", "method": "a|b", "psnr": 38.4561, "ssim": 0.98765, "steps": [1.0, 2.25]}]
    rows.append({"case": "0.5", "method": "c", "psnr": 27.0, "kept": False})
    part = {"command": ["one", "two"], "commit": "abc", "date": "2025-01-31", "hardware": "a machine", "seed": 0}
    part |= {"rows": rows, "notes": ["It lost."], "speed": [{"weights": "x", "faster": 2}]}
    (tmp_path / "pixel_restore.json").write_text(json.dumps(part))
    (tmp_path / "pixel_restore_text.png").write_bytes(b"")
    text = pixel_page.page(tmp_path)
    for line in (
        "## Restoration: text, salt and pepper",
        "```\none\ntwo\n```",
        "Commit abc, 2025-01-31, a machine, seed 0.",
        "### case 0.1\n\n| method | PSNR, dB | SSIM | steps |\n|---|---|---|---|\n"
        "| a\\|b | 38.46 | 0.9877 | 1.00, 2.25 |\n\n### case 0.5",
        "| method | PSNR, dB | kept |\n|---|---|---|\n| c | 27.00 | **no** |",
        "### speed\n\n| weights | faster |\n|---|---|\n| x | 2 |",
        "- It lost.",
        "(pixel_restore_text.png)",
    ):
        assert line in text, line
    assert "## Colour" not in text


def row(method, sigma, psnr, fourth=None, images=68):
    return {"method": method, "sigma": sigma, "images": images, "psnr": psnr, "psnr_every_fourth": fourth or psnr}


def test_promises_are_held_against_the_same_images():
    rows = [row("PixelRL plain", 25, 28.76), row("PixelRL convGRU", 25, 28.84, images=17), row(OWN_25, 25, 28.49)]
    rows += [row(NOISE, 25, 28.3), row(OWN_25, 15, 30.0, 29.0), row("DnCNN-25", 15, 29.5, images=17)]
    found = {entry["promise"]: entry for entry in promises(rows)}
    assert found["PixelRL plain at sigma 25: within 0.02 dB of the reference"]["kept"] is True
    assert found["PixelRL convGRU at sigma 25: within 0.02 dB of the reference"]["kept"] == "all 68: see below"
    assert found["our weights at sigma 25: 28.5 dB or better"]["kept"] is False
    alone = f"{NOISE} at sigma 25: within 0.2 dB of the paper's PixelRL for that sigma alone"
    assert (found[alone]["kept"], found[alone]["against, dB"]) == (False, "28.75")
    close = f"{NOISE} at sigma 25: within 0.2 dB of {OWN_25}, which is for sigma 25"
    assert (found[close]["kept"], found[close]["figure, dB"]) == (True, "28.300")
    part = found[f"{OWN_25} at sigma 15, beside DnCNN-25 (every fourth image)"]
    assert (part["kept"], part["figure, dB"], part["against, dB"]) == (False, "29.000", "29.500")
    assert found[f"{OWN_25} at sigma 35, beside DnCNN-25"]["kept"] == "?"


def field(number, content):
    """A field of bytes; numbers below 128 only, which are one byte each."""
    length = len(content)
    head = [length] if length < 128 else [length % 128 + 128, length // 128]
    return (
        bytes([(number << 3 | 2) & 127 | (128 if number > 15 else 0), *([number >> 4] if number > 15 else []), *head])
        + content
    )


def blob(shape, values):
    return field(7, field(1, bytes(shape))) + field(5, struct.pack(f"<{len(values)}f", *values))


def test_a_caffemodel_is_read(tmp_path):
    kernel = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    layer = (
        field(1, b"conv") + field(7, blob(kernel.shape, kernel.flatten().tolist())) + field(7, blob([2], [0.5, -1.0]))
    )
    quiet = field(1, b"relu") + bytes([10 << 3, 1])  # no weights; a number
    (tmp_path / "m").write_bytes(field(1, b"net") + field(100, layer) + field(100, quiet))
    ((found, bias),) = caffemodel.read_convolutions(tmp_path / "m")
    assert torch.equal(found, kernel) and bias.tolist() == [0.5, -1.0]
    with pytest.raises(ValueError, match="no protocol buffer"):
        list(caffemodel.fields(b"\x0b"))


def test_baselines_do_what_their_names_say(shared_data):
    path = denoisers.images_of(shared_data)[0]
    clean, noisy = (image[..., 100:164, 100:164] for image in denoisers.pair(path, 0, 0, 25))
    assert abs(denoisers.scores([noisy], clean)[0] - 20.2) < 0.6  # 10 log10(255^2 / 25^2) = 20.17
    uniform = denoisers.scores(denoisers.best_uniform(clean)(noisy), clean)
    assert len(uniform) == 6 and uniform == sorted(uniform)
    random = denoisers.scores(denoisers.at_random(noisy), clean)
    learned = {name: make(shared_data, 25)(noisy) for name, make in (("i", denoisers.ircnn), ("d", denoisers.dncnn))}
    scores = {name: denoisers.scores(images, clean)[-1] for name, images in learned.items()}
    assert abs(scores["i"] - scores["d"]) < 0.5  # two independent networks of one quality
    assert min(scores.values()) > uniform[-1] > random[-1]
    with pytest.raises(ValueError, match="NaN"):
        denoisers.scores([noisy * torch.nan], clean)


def test_a_stopped_run_goes_on_and_parts_are_told_from_the_whole(tmp_path):
    images = [Path(f"{k}.png") for k in range(8)]
    log = denoisers.Log(tmp_path / "log", {"seed": 0}, ("method", "sigma", "image"))
    task = pixel_denoise.Task(images, tmp_path, 0)
    unit = {"method": "BM3D", "ssim": 0.5, "cpu_s": 1.0, "commit": "abc"}
    assert [index for index, _ in task.of("BM3D", 25)] == [0, 4, 1, 2, 3, 5, 6, 7]
    assert [index for index, _ in task.of("BM3D", 15)] == [0, 4]
    for k in (0, 1):
        log.keep({**unit, "sigma": 25, "image": str(k), "psnr": [20.0, 30.0 + k]})
    assert pixel_denoise.summary(log, task, "BM3D", 25) is None
    log.keep({**unit, "sigma": 25, "image": "4", "psnr": [20.0, 28.0]})
    part = pixel_denoise.summary(log, task, "BM3D", 25)
    assert (part["images"], part["psnr"], part["psnr_every_fourth"]) == (2, 29.0, 29.0)
    for k in (2, 3, 5, 6, 7):
        log.keep({**unit, "sigma": 25, "image": str(k), "psnr": [20.0, 27.0]})
    again = denoisers.Log(tmp_path / "log", {"seed": 0}, ("method", "sigma", "image"))
    whole = pixel_denoise.summary(again, task, "BM3D", 25)
    assert (whole["images"], whole["psnr"], whole["psnr_every_fourth"]) == (8, 28.0, 29.0)
    assert whole["psnr_per_step"] == [20.0, 28.0]
