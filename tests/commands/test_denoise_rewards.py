"""Names of rewards, as ``pixward train denoise`` and ``bench denoise`` take them."""

from __future__ import annotations

import pytest
import torch
from tests.denoise.tiny import tiny_parts

from pixward.commands.denoise_rewards import REWARDS, Asked, judge_of, reward_named
from pixward.denoise import builtin
from pixward.errors import PixwardError
from pixward.judging import ask, name_of
from pixward.rewards.clip import load_aesthetic
from pixward.rewards.image import colourfulness, incompressibility

pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

PROMPTS = ("a tiger", "a fox on sand")
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
ASKED = Asked((32, 32), PROMPTS)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "builtin_folder", lambda: tmp_path / "parts")
    return tiny_parts(tmp_path / "parts")


@pytest.fixture
def clip(tmp_path, word_tokenizer):
    """A tiny CLIP in a folder."""
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        projection_dim=10,
        text_config={**small, "vocab_size": 10, "max_position_embeddings": 6, "eos_token_id": 3, "bos_token_id": 2},
        vision_config={**small, "image_size": 16, "patch_size": 8},
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path / "clip")
    word_tokenizer("a tiger fox on sand").save_pretrained(tmp_path / "clip")
    return str(tmp_path / "clip")


def scored(name, asked=ASKED, images=IMAGES):
    reward = reward_named(name, asked)
    assert name_of(reward) == name
    return ask(reward, images, PROMPTS, [{}, {}])[0]


def test_rewards_that_look_at_pixels():
    small = incompressibility(IMAGES, floor=True)
    torch.testing.assert_close(scored("jpeg"), -small)
    torch.testing.assert_close(scored("incompressible"), small)
    torch.testing.assert_close(scored("colour"), colourfulness(IMAGES))
    assert float(scored("jpeg", images=torch.full_like(IMAGES, 0.5)).abs().max()) == 0


def test_alignment_by_the_judge_that_ships(shipped):
    leaf = IMAGES.clone().requires_grad_(True)
    found = scored("align", images=leaf)
    animals, _ = builtin.builtin_judge().groups
    logits = builtin.builtin_judge().classifier(IMAGES)[0, : len(animals)]
    torch.testing.assert_close(found[0], logits.log_softmax(0)[animals.index("tiger")])
    found.sum().backward()
    assert float(leaf.grad.abs().sum()) > 0  # the direct gradient needs it


def test_who_judges_accuracy(shipped):
    assert judge_of(ASKED).groups == builtin.builtin_judge().groups
    assert judge_of(Asked((512, 512), PROMPTS)) is None
    assert judge_of(Asked((32, 32), ("a tiger", "a red car"))) is None
    (shipped / "judge.safetensors").unlink()
    assert judge_of(ASKED) is None
    with pytest.raises(PixwardError, match="there is no judge"):
        reward_named("align", ASKED)


def test_rewards_by_a_clip_of_ones_own(tmp_path, clip):
    torch.save({"layers.0.weight": torch.randn(1, 10), "layers.0.bias": torch.zeros(1)}, tmp_path / "head.pth")
    leaf = IMAGES.clone().requires_grad_(True)
    found = scored("aesthetic", Asked((32, 32), PROMPTS, str(tmp_path / "head.pth"), clip), leaf)
    torch.testing.assert_close(found, load_aesthetic(clip, tmp_path / "head.pth")(IMAGES))
    found.sum().backward()
    assert float(leaf.grad.abs().sum()) > 0
    alike = scored("align", Asked((512, 512), PROMPTS, clip))
    assert bool((alike.abs() <= 1).all()) and float(alike.std()) > 0


def test_what_a_reward_needs_is_named(tmp_path, clip):
    with pytest.raises(PixwardError, match="--scorer FILE, with its CLIP as --clip"):
        reward_named("aesthetic", ASKED)
    with pytest.raises(PixwardError, match="knows pictures of 32 pixels, not 512; give --scorer MODEL"):
        reward_named("align", Asked((512, 512), PROMPTS))
    with pytest.raises(PixwardError, match="no animal in the prompt 'a red car'"):
        reward_named("align", Asked((32, 32), ("a red car",)))
    with pytest.raises(PixwardError, match=f"known are {', '.join(REWARDS)}, or module:callable"):
        reward_named("jpg", ASKED)
    with pytest.raises(PixwardError, match="there is no aesthetic head"):
        reward_named("aesthetic", Asked((32, 32), PROMPTS, str(tmp_path / "gone.pth"), clip))


def test_module_and_callable(tmp_path, monkeypatch):
    (tmp_path / "own_brightness.py").write_text(
        "def bright(images, prompts, metadata):\n    return images.mean((1, 2, 3)), {}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.testing.assert_close(scored("own_brightness:bright"), IMAGES.mean((1, 2, 3)))
