from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.data.crops import Crops, read_photos
from pixward.errors import PixwardError


def photo(channels=1, height=20, width=30):
    return torch.arange(channels * height * width).remainder(256).to(torch.uint8).view(channels, height, width)


def test_crops_are_parts_of_a_photo_turned_or_mirrored():
    torch.manual_seed(0)
    picture = photo()
    drawn = Crops([picture], 4)(50)
    assert drawn.shape == (50, 1, 4, 4) and drawn.dtype == torch.float32
    windows = {
        bytes(w.contiguous().view(-1).tolist()) for w in picture[0].unfold(0, 4, 1).unfold(1, 4, 1).flatten(0, 1)
    }
    turned = set()
    for crop in (drawn[:, 0] * 255).round().to(torch.uint8):
        forms = [torch.rot90(side, k) for side in (crop, crop.flip(1)) for k in range(4)]
        hits = [index for index, form in enumerate(forms) if bytes(form.contiguous().view(-1).tolist()) in windows]
        assert hits
        turned.add(hits[0])
    assert len(turned) > 4


def test_the_global_generator_decides():
    crops = Crops([photo(3)], 8)
    torch.manual_seed(3)
    first = crops(5)
    torch.manual_seed(3)
    assert torch.equal(crops(5), first)


def test_what_cannot_be_cut():
    with pytest.raises(PixwardError, match="no photos"):
        Crops([], 4)
    with pytest.raises(PixwardError, match="only 20 pixels"):
        Crops([photo()], 21)


def test_reading(tmp_path):
    pixels = np.zeros((3, 5, 3), np.uint8)
    pixels[..., 1] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (grey,) = read_photos([tmp_path / "a.png"], grey=True)
    (colour,) = read_photos([tmp_path / "a.png"], grey=False)
    assert grey.shape == (1, 3, 5) and int(grey[0, 0, 0]) == 117  # 0.587 * 200
    assert colour.shape == (3, 3, 5) and colour[:, 0, 0].tolist() == [0, 200, 0]
    (tmp_path / "b.png").write_bytes(b"no")
    with pytest.raises(PixwardError, match="cannot be read as a picture"):
        read_photos([tmp_path / "b.png"], grey=True)
