from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.data.pairs import draw_tiles, foreign_look, photo_files, random_actions, tile_bank


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def photos(tmp_path):
    """Two noisy photos in two folders, and things that are no photos."""
    rng = np.random.default_rng(0)
    for name, size in (("b/two.PNG", (64, 90)), ("a/one.png", (70, 64))):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no photo")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_photo_files_are_found_below_and_sorted(photos):
    assert [path.name for path in photo_files([photos])] == ["one.png", "two.PNG"]
    assert [path.name for path in photo_files([str(photos / "b"), photos / "a"])] == ["two.PNG", "one.png"]


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_folders_without_photos_are_named(photos, name):
    with pytest.raises(FileNotFoundError, match=f"no pictures in .*{name}"):
        photo_files([photos / "a", photos / name])


def test_tile_bank_has_its_size_and_repeats_itself(photos):
    files = photo_files([photos])
    bank = tile_bank(files, side=16, tiles=5, preview=64, seed=3)
    assert bank.shape == (10, 3, 16, 16)
    assert bank.dtype == torch.uint8
    assert torch.equal(bank, tile_bank(files, side=16, tiles=5, preview=64, seed=3))
    assert not torch.equal(bank, tile_bank(files, side=16, tiles=5, preview=64, seed=4))


def test_every_other_tile_is_cut_from_the_preview_itself(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    bank = tile_bank([tmp_path / "photo.png"], side=16, tiles=6, preview=64).permute(0, 2, 3, 1).numpy()

    def is_cut(tile):
        corners = np.argwhere((pixels[: 40 - 15, : 64 - 15] == tile[0, 0]).all(2))
        return any((pixels[y : y + 16, x : x + 16] == tile).all() for y, x in corners)

    assert [is_cut(tile) for tile in bank[1::2]] == [True] * 3
    # The others are averages over a larger crop, so the noise in them is weaker.
    assert [is_cut(tile) for tile in bank[::2]] == [False] * 3
    assert bank[::2].std() < 0.9 * bank[1::2].std()


def test_photos_smaller_than_a_tile_and_grey_ones_will_do(tmp_path):
    Image.new("L", (9, 30), 77).save(tmp_path / "small.png")
    Image.new("RGBA", (300, 20), (10, 20, 30, 128)).save(tmp_path / "long.png")
    bank = tile_bank(photo_files([tmp_path]), side=24, tiles=3, preview=64)
    assert bank.shape == (6, 3, 24, 24)
    assert bank[3:].unique().tolist() == [77]
    assert bank[:3].permute(1, 0, 2, 3).flatten(1).unique(dim=1).flatten().tolist() == [10, 20, 30]


def test_drawn_tiles_are_the_banks_half_of_them_mirrored():
    bank = torch.randint(256, (7, 3, 5, 4), generator=seeded(), dtype=torch.uint8)
    drawn = draw_tiles(bank, 400, seeded(1))
    assert drawn.shape == (400, 3, 5, 4)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, draw_tiles(bank, 400, seeded(1)))
    assert not torch.equal(drawn, draw_tiles(bank, 400, seeded(2)))
    exact = (drawn * 255).round().to(torch.uint8)
    assert float((exact / 255 - drawn).abs().max()) < 1e-6
    plain = (exact[:, None] == bank).flatten(2).all(2)
    mirrored = (exact[:, None] == bank.flip(3)).flatten(2).all(2)
    assert bool((plain.any(1) ^ mirrored.any(1)).all())
    assert 150 < int(mirrored.sum()) < 250
    assert bool((plain | mirrored).any(0).all())


def test_actions_mix_sizes_and_leave_sliders_alone():
    action = random_actions(3000, 12, seeded())
    assert action.shape == (3000, 12)
    assert torch.equal(action, random_actions(3000, 12, seeded()))
    assert not torch.equal(action, random_actions(3000, 12, seeded(1)))
    reach = action.abs().amax(1)
    assert float(reach.max()) <= 1
    untouched = (action == 0).sum(1)
    sparse = untouched > 0
    assert float(sparse.float().mean()) == pytest.approx(1 / 3, abs=0.04)
    assert float(untouched[sparse].float().mean()) == pytest.approx(6, abs=0.3)
    # The largest of twelve uniform draws is 12/13 of the radius on average, and the radius 0.625.
    assert float(reach[~sparse].mean()) == pytest.approx(0.625 * 12 / 13, abs=0.02)
    assert float(reach[~sparse].min()) < 0.25 < 0.9 < float(reach[~sparse].max())


def test_a_foreign_look_is_mild_and_keeps_black_and_white():
    images = torch.rand(50, 3, 6, 6, generator=seeded())
    images[:, :, 0, 0], images[:, :, 0, 1] = 0, 1
    looked = foreign_look(images, seeded(1))
    assert looked.shape == images.shape
    assert torch.equal(looked, foreign_look(images, seeded(1)))
    assert float(looked.min()) >= 0 and float(looked.max()) <= 1
    # Rows of the matrix sum to 1 and powers leave 1 alone.
    assert float((looked[:, :, 0, 1] - 1).abs().max()) < 1e-5
    assert float(looked[:, :, 0, 0].max()) < 0.01
    away = (looked - images).pow(2).mean((1, 2, 3)).sqrt()
    assert float(away.min()) > 0.01 and float(away.max()) < 0.3
    # A grey stays grey up to the power: its channels share one value before it.
    grey = foreign_look(torch.full((1, 3, 2, 2), 0.5), seeded(2))[0, :, 0, 0]
    powers = grey.log() / np.log(0.5)
    assert float((powers.log() / 0.12).abs().max()) < 4
