"""What the guides show is what happens: their code runs as it stands, on small models that have learnt nothing."""

from __future__ import annotations

import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("peft")

import diffusers
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from tests.denoise.tiny import tiny_parts, tiny_pipeline

from pixward.denoise.painter import PainterSettings
from pixward.train.direct import DirectSettings
from pixward.train.ppo import PPOSettings

TRL = """num_epochs sample_batch_size sample_num_batches_per_epoch sample_num_steps sample_eta sample_guidance_scale
train_batch_size train_gradient_accumulation_steps train_learning_rate train_clip_range train_adv_clip_max train_cfg
train_num_inner_epochs train_timestep_fraction per_prompt_stat_tracking per_prompt_stat_tracking_buffer_size
per_prompt_stat_tracking_min_count mixed_precision resume_from save_freq log_with tracker_kwargs project_kwargs
async_reward_computation max_workers train_max_grad_norm negative_prompts train_adam_weight_decay num_checkpoint_limit
allow_tf32 accelerator_kwargs tracker_project_name logdir push_to_hub seed run_name"""
"""Fields of TRL's DDPOConfig, but for Adam's betas and epsilon and its 8-bit form."""

GUIDES = Path(__file__).resolve().parents[1] / "docs" / "guides"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with my-model and my-lcm, and trl-run, a LoRA as TRL saved it."""
    folder = tmp_path_factory.mktemp("models")
    parts = tiny_parts(folder / "parts")
    tiny_pipeline(parts, "emoji", folder / "my-model")
    tiny_pipeline(parts, "emoji-lcm", folder / "my-lcm")
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "my-model" / "unet")
    layers = ["to_k", "to_q", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=layers))
    held = get_peft_model_state_dict(unet)
    torch.manual_seed(0)
    held = {name: torch.randn_like(value) * 0.1 for name, value in held.items()}
    diffusers.StableDiffusionPipeline.save_lora_weights(folder / "trl-run", unet_lora_layers=held)
    return folder


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (GUIDES / name).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def run(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a block as a script in a folder where the models lie; what it left in its variables."""
    for model in ("my-model", "my-lcm", "trl-run"):
        (tmp_path / model).symlink_to(models / model)
    monkeypatch.chdir(tmp_path)

    def ran(code: str) -> dict:
        (tmp_path / "script.py").write_text(code)
        return runpy.run_path("script.py")

    return ran


def test_a_run_of_ddpo_and_its_lora(run, tmp_path, capsys):
    names = run(blocks("from-trl-ddpo.md")[0])
    assert len(capsys.readouterr().out.splitlines()) == 1  # the checkpoint at the end
    assert names["line"]["queries"] == 8 and names["line"]["step"] == 2
    held = load_file(tmp_path / "light-lora" / "pytorch_lora_weights.safetensors")
    assert any(bool((value != 0).any()) for name, value in held.items() if "lora_B" in name or "lora.up" in name)
    assert (tmp_path / "runs" / "light" / "log.jsonl").exists()


def test_a_lora_of_trl_is_drawn_with(run):
    names = run(blocks("from-trl-ddpo.md")[1])
    assert names["pictures"].shape == (2, 3, 32, 32)
    plain = names["painter"]("my-model", PainterSettings(steps=3)).draw(["a tiger", "a fox"], seeds=[0, 1])
    assert float((plain - names["pictures"]).abs().max()) > 1e-3
    assert names["model"].settings.lora.rank == 4


def test_the_direct_gradient_reaches_the_lora(run):
    names = run(blocks("from-trl-ddpo.md")[2])
    assert names["line"]["grad_norm"] > 0 and names["line"]["kl"] >= 0 and names["line"]["queries"] == 4
    with torch.no_grad():
        moved = [weight for name, weight in names["model"].policy.named_parameters() if "lora_B" in name]
    assert moved and all(bool((weight != 0).any()) for weight in moved)


def test_a_run_of_rlcm(run, tmp_path, capsys):
    names = run(blocks("from-rlcm.md")[0])
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert names["line"]["queries"] == 8
    assert (tmp_path / "small-files-lora" / "pytorch_lora_weights.safetensors").exists()


def test_settings_that_the_guides_name_exist():
    known = {field.name for kind in (PPOSettings, DirectSettings, PainterSettings) for field in fields(kind)}
    for guide in ("from-trl-ddpo.md", "from-rlcm.md"):
        text = (GUIDES / guide).read_text(encoding="utf-8")
        rows = [line.split("|")[2] for line in text.splitlines() if line.startswith("| `")]
        named = {word for row in rows for word in re.findall(r"`(?:\w+Settings\.)?([a-z_]+)(?:=[^`]*)?`", row)}
        others = {"evaluate", "save", "save_lora", "original_inference_steps", "unconditional"}
        others |= {"compressibility", "incompressibility", "port"}
        assert named - known - others == set() and len(rows) > 15


def test_every_field_of_ddpo_config_has_a_row():
    text = (GUIDES / "from-trl-ddpo.md").read_text(encoding="utf-8")
    assert not [name for name in TRL.split() if f"`{name}" not in text]


@pytest.mark.parametrize("guide", sorted(path.name for path in GUIDES.glob("*.md")))
def test_named_files_exist(guide):
    text = (GUIDES / guide).read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_/0-9]+/[a-z_0-9]+\.py)`", text)
    root = GUIDES.parents[1]
    assert not [name for name in named if not any((top / name).exists() for top in (root / "src" / "pixward", root))]
