from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.data.teacher import CLASSIFIER_FILE, LUTS_FILE, LutTeacher, Teacher, load_teacher
from pixward.ops.lut import as_table, lattice


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    if not (shared_data / "models" / LUTS_FILE).is_file():
        pytest.skip(f"needs models/{LUTS_FILE} in the shared data folder")
    return shared_data / "models"


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Teacher:
    return load_teacher(folder)


def test_weights_mix_the_basis_tables() -> None:
    model = LutTeacher().eval()
    model.basis[0], model.basis[1] = as_table(lattice(33)), 0.5
    last = model.model[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.5, 0.6, 0.0]))
    image = torch.rand(1, 3, 9, 4, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model(image), 0.5 * image + 0.3)


def test_teacher_enhances_a_photo(teacher: Teacher, shared_data: Path) -> None:
    path = shared_data / "photos" / "bsds500" / "val" / "101085.jpg"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with Image.open(path) as file:
        pixels = np.asarray(file.convert("RGB").resize((120, 160)), dtype=np.float32) / 255
    photo = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    output = teacher(photo)
    assert output.shape == photo.shape
    assert not output.requires_grad
    assert 0 <= float(output.min()) < float(output.max()) <= 1
    # An enhancement: not the photo itself, yet the same scene, with more contrast than before.
    assert 15 < float(-10 * (output - photo).square().mean().log10()) < 30
    assert float(np.corrcoef(output.flatten(), photo.flatten())[0, 1]) > 0.9
    assert float(output.std()) > float(photo.std())


def test_teacher_treats_each_photo_alone(teacher: Teacher) -> None:
    photos = torch.rand(3, 3, 1, 9, generator=torch.Generator().manual_seed(3))
    alone = torch.cat([teacher(photo[None]) for photo in photos])
    torch.testing.assert_close(teacher(photos), alone, atol=1e-4, rtol=0)


def test_missing_and_foreign_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=LUTS_FILE):
        load_teacher(tmp_path)
    torch.save({"0": 1}, tmp_path / LUTS_FILE)
    torch.save({}, tmp_path / CLASSIFIER_FILE)
    with pytest.raises(ValueError, match="not the weights of the image-adaptive"):
        load_teacher(tmp_path)
    (tmp_path / LUTS_FILE).write_text("no weights here")
    with pytest.raises(ValueError, match="not a file of torch weights"):
        load_teacher(tmp_path)
