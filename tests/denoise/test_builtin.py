"""The models that ship: they draw what prompts say, are small, and are plain diffusers' own once saved."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("diffusers")

import diffusers

from pixward.denoise.builtin import BUILTIN, builtin_folder, builtin_judge, builtin_pipeline, builtin_prompts
from pixward.denoise.painter import PainterSettings, load_pipeline, painter
from pixward.denoise.settings import SMALL_GUIDANCE
from pixward.errors import PixwardError
from pixward.image import load, to_tensor


@pytest.fixture(scope="module")
def shipped():
    return {name: builtin_pipeline(name) for name in BUILTIN}


def test_a_tiger_as_a_user_draws_it(tmp_path):
    """In a process of its own, since libraries speak when they are first imported."""
    run = (sys.executable, "-m", "pixward.cli", "sample", "a tiger", "--out", "a.png")
    done = subprocess.run(
        run,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "a.png: 32 x 32" and len(done.stdout.splitlines()) == 2
    picture = to_tensor(load(tmp_path / "a.png").pixels)
    assert picture.shape == (1, 3, 32, 32)
    judge = builtin_judge()
    assert judge.accuracy(picture, ["a tiger"]).tolist() == [1.0]
    assert judge.accuracy(picture, ["a fox"]).tolist() == [0.0]


def test_the_weights_are_small():
    files = [path for path in builtin_folder().rglob("*") if path.is_file()]
    assert 1_000_000 < sum(path.stat().st_size for path in files) <= 8 * 2**20
    assert {path.parent.name for path in files} == {"emoji", "text_encoder", "tokenizer", "unet", "unet_lcm", "vae"}


@pytest.mark.parametrize("name, steps", [("emoji-lcm", 2), ("emoji", 10)])
def test_prompts_that_are_held_out_from_tuning_are_drawn(shipped, name, steps):
    prompts = builtin_prompts("held-out")
    assert len(prompts) == 9
    pictures = painter(shipped[name], PainterSettings(steps=steps, guidance=SMALL_GUIDANCE)).draw(prompts, range(9))
    assert float(builtin_judge().accuracy(pictures, prompts).mean()) >= 0.7


@pytest.mark.parametrize("name", BUILTIN)
def test_plain_diffusers_draws_the_same(shipped, tmp_path, name):
    shipped[name].save_pretrained(tmp_path / name)
    kind = diffusers.LatentConsistencyModelPipeline if name == "emoji-lcm" else diffusers.StableDiffusionPipeline
    plain = kind.from_pretrained(tmp_path / name)
    plain.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 2, "guidance_scale": 4.0, "output_type": "np"}
    one, other = (
        torch.from_numpy(pipeline("a fox on sand", generator=torch.Generator().manual_seed(3), **settings).images)
        for pipeline in (shipped[name], plain)
    )
    assert one.shape == (1, 32, 32, 3)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    # What was saved is what pixward loads, and draws with, as well.
    again = painter(load_pipeline(tmp_path / name), PainterSettings(steps=2, guidance=4.0)).draw(["a fox"], [0])
    before = painter(shipped[name], PainterSettings(steps=2, guidance=4.0)).draw(["a fox"], [0])
    torch.testing.assert_close(again, before, atol=1e-5, rtol=0)


def test_another_name_and_missing_parts_are_told(tmp_path):
    with pytest.raises(PixwardError, match="no model emoj ships with pixward: choose emoji or emoji-lcm"):
        builtin_pipeline("emoj")
    with pytest.raises(PixwardError, match="does not hold the model emoji"):
        builtin_pipeline("emoji", tmp_path)
    with pytest.raises(PixwardError, match="there is no judge"):
        builtin_judge(tmp_path)
