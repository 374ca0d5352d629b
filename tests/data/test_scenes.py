from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from pixward.data.scenes import SIZE, Scenes, read_cutouts, read_objects, strikingness
from pixward.errors import PixwardError


def photo(*colour, size=(120, 160)):
    return torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, *size).contiguous()


def cutout():
    made = torch.zeros(4, 40, 30, dtype=torch.uint8)
    made[0], made[3, 5:35, 5:25] = 255, 255
    return made


def test_how_striking_an_object_is():
    """A plain square on a plain ground: only the distance of the two colours in Lab counts."""
    square, ground = (0.8, 0.3, 0.2), (0.3, 0.4, 0.5)
    mask = torch.zeros(1, 60, 80)
    mask[0, 20:40, 30:50] = 1
    image = torch.where(mask > 0, torch.tensor(square).view(3, 1, 1), torch.tensor(ground).view(3, 1, 1))[None]
    found = strikingness(image, mask)
    lab = [rgb2lab(np.array([[colour]]))[0, 0] for colour in (square, ground)]
    expected = 1 - math.exp(-np.linalg.norm(lab[0] - lab[1]) / 25)
    assert float(found[30, 40]) == pytest.approx(expected, abs=0.01)
    assert float(found[mask[0] == 0].max()) <= 0.4
    same = strikingness(torch.full((1, 3, 60, 80), 0.5), mask)
    assert float(same.abs().max()) < 1e-3


def test_an_object_that_fills_the_picture():
    assert bool(strikingness(torch.rand(1, 3, 20, 30), torch.ones(1, 20, 30)).isfinite().all())
    assert bool(strikingness(torch.rand(1, 3, 20, 30), torch.zeros(1, 20, 30)).isfinite().all())


def test_scenes_follow_torchs_generator():
    labelled = [(photo(90, 90, 90), torch.zeros(1, 120, 160, dtype=torch.bool))]
    labelled[0][1][0, 30:80, 40:100] = True
    scenes = Scenes([photo(20, 120, 200), photo(200, 180, 20)], [cutout()], labelled)
    torch.manual_seed(0)
    images, targets, masks = scenes(12)
    assert images.shape == (12, 3, *SIZE) and targets.shape == masks.shape == (12, *SIZE)
    for values in (images, targets, masks):
        assert float(values.min()) >= 0 and float(values.max()) <= 1 and bool(values.isfinite().all())
    assert bool((masks.mean((1, 2)) > 0).all())
    torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(scenes(12), (images, targets, masks), strict=True))


def test_nothing_to_paste():
    with pytest.raises(PixwardError, match="at least one"):
        Scenes([photo(1, 2, 3)], [])


def test_cutouts_are_photographs(tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (150, 120, 4), dtype=np.uint8)
    pixels[..., 3] = 0
    pixels[20:130, 20:100, 3] = 255
    (tmp_path / "animals" / "cartoon").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "animals" / "cat.png")
    Image.fromarray(pixels).save(tmp_path / "animals" / "cartoon" / "cat.png")
    pixels[..., :3] = 7
    (tmp_path / "drawings").mkdir()
    Image.fromarray(pixels).save(tmp_path / "drawings" / "one.png")
    found = read_cutouts(tmp_path)
    assert len(found) == 1 and found[0].shape == (4, 110, 80) and int(found[0][3].min()) == 255
    with pytest.raises(PixwardError, match="no photographic cut-outs"):
        read_cutouts(tmp_path / "drawings")


def test_outlines_become_masks(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (400, 200), "green").save(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels" / "a.txt").write_text("3 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n5 0.1 0.1\n")
    (tmp_path / "labels" / "gone.txt").write_text("3 0 0 1 0 1 1\n")
    ((pixels, masks),) = read_objects(tmp_path / "images", tmp_path / "labels")
    assert pixels.shape == (3, 96, 192) and masks.shape == (1, 96, 192)
    assert float(masks.float().mean()) == pytest.approx(0.25, abs=0.02) and bool(masks[0, 48, 96])
    with pytest.raises(PixwardError, match="no labelled photos"):
        read_objects(tmp_path / "labels", tmp_path / "images")
