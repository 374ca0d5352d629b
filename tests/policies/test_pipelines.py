from __future__ import annotations

import json
import sys

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

import diffusers
from tests.policies.pipes import PROMPTS, SCALED, TWO, pipeline, shaken, theirs, to_ddim, vae

from pixward.checks import check_env, check_policy
from pixward.denoise.modules import TOKENS, WORDS
from pixward.denoise.painter import Painter, painter
from pixward.errors import PixwardError
from pixward.policies.hub import Lora
from pixward.policies.pipelines import PainterSettings, load_pipeline

CASES = {
    "lcm": ("lcm", None, PainterSettings(steps=3), {"timesteps": [999, 679, 359], "guidance_scale": 8.0}),
    "lcm-today": (
        "lcm",
        None,
        PainterSettings(steps=8, grid="diffusers"),
        {"num_inference_steps": 8, "guidance_scale": 8.0},
    ),
    "lcm-short": (
        "lcm",
        diffusers.LCMScheduler(
            **SCALED, original_inference_steps=20, timestep_scaling=5.0, prediction_type="v_prediction"
        ),
        PainterSettings(steps=4, guidance=3.0, last="drop", height=24, width=16),
        {"timesteps": [999, 749, 499, 249], "guidance_scale": 3.0, "height": 24, "width": 16},
    ),
    "ddim": ("sd", None, PainterSettings(steps=4), {"num_inference_steps": 4, "guidance_scale": 5.0, "eta": 1.0}),
    "ddim-odd": (
        "sd",
        diffusers.DDIMScheduler(
            beta_end=0.02,
            prediction_type="v_prediction",
            clip_sample_range=0.8,
            timestep_spacing="trailing",
            rescale_betas_zero_snr=True,
        ),
        PainterSettings(steps=3, guidance=1.0, last="drop", eta=0.5),
        {"num_inference_steps": 3, "guidance_scale": 1.0, "eta": 0.5},
    ),
    "euler": (
        "sd",
        diffusers.EulerAncestralDiscreteScheduler(**SCALED, timestep_spacing="leading", steps_offset=1),
        PainterSettings("euler", steps=4, guidance=2.0),
        {"num_inference_steps": 4, "guidance_scale": 2.0},
    ),
    "xl": (
        "xl",
        None,
        PainterSettings(steps=4, last="drop"),
        {"num_inference_steps": 4, "guidance_scale": 5.0, "eta": 1.0},
    ),
    "xl-lcm": (
        "xl",
        diffusers.LCMScheduler(**SCALED),
        PainterSettings(steps=2, guidance=1.5),
        {"timesteps": [999, 499], "guidance_scale": 1.5},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_draws_what_plain_diffusers_draws(case):
    kind, scheduler, settings, options = CASES[case]
    pipe = pipeline(kind, scheduler)
    made = painter(pipe, settings)
    ours = made.draw(PROMPTS, [3, 4])
    if kind != "lcm" and "eta" in options:
        to_ddim(pipe)
    want = theirs(pipe, **options)
    assert float(want.std()) > 0.01 and not torch.equal(want[0], want[1])
    torch.testing.assert_close(ours, want, rtol=0, atol=1e-4)


def test_a_picture_hangs_on_its_own_seed_alone():
    made = painter(pipeline("sd"), PainterSettings(steps=2))
    both, alone = made.draw(PROMPTS, [3, 4]), made.draw(PROMPTS[1:], [4])
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-5)
    assert both.shape == (2, 3, 16, 16) and float(both.min()) >= 0 and float(both.max()) <= 1
    assert not torch.allclose(made.draw(PROMPTS[1:], [5]), alone, atol=1e-3)
    with pytest.raises(ValueError, match="2 prompts, 1 seeds"):
        made.draw(PROMPTS, [1])


@pytest.mark.parametrize("kind", ["lcm", "sd", "xl"])
def test_environment_and_policy_keep_their_contracts(kind):
    made = painter(pipeline(kind), PainterSettings(steps=2))
    assert isinstance(made, Painter)
    state = made.env.reset({"noise": made.env.noise(2, torch.Generator().manual_seed(0)), **made.read(PROMPTS)})
    check_policy(made.policy, state, tolerance=1e-2)  # of 256 values
    check_env(made.env, {"noise": made.env.noise(2), **made.read(PROMPTS)}, made.policy.sample(state).value)
    want = {"lcm": {"prompt"}, "sd": {"prompt", "unconditional"}}
    want["xl"] = want["sd"] | {"pooled", "sizes", "unconditional_pooled"}
    assert set(made.read(PROMPTS)) == want[kind]
    assert made.read(PROMPTS)["prompt"].shape == (2, TOKENS, WORDS)


def test_prompts_are_read_once():
    made = painter(pipeline("sd"), PainterSettings(steps=2))
    seen = []
    made.pipeline.text_encoder.register_forward_hook(lambda *_: seen.append(1))
    first = made.read(PROMPTS)
    again = made.read([PROMPTS[1], PROMPTS[0], PROMPTS[1]])
    assert len(seen) == 4  # two prompts, and the empty one beside one
    assert torch.equal(again["prompt"], first["prompt"][[1, 0, 1]]) and not first["prompt"].requires_grad


def test_an_autoencoder_that_overflows_is_raised_to_decode():
    pipe = pipeline("xl")
    assert pipe.vae.config.force_upcast
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    want = painter(pipe).env.decode(latents)
    pipe.vae.half()
    seen = []
    pipe.vae.decoder.register_forward_hook(lambda module, given, out: seen.append(given[0].dtype))
    torch.testing.assert_close(painter(pipe).env.decode(latents), want, rtol=0, atol=1e-2)
    assert seen == [torch.float32] and pipe.vae.dtype == torch.float16


@pytest.mark.parametrize("kind", ["lcm", "xl"])
def test_a_saved_pipeline_is_one_of_plain_diffusers(kind, tmp_path):
    made = shaken(painter(pipeline(kind), TWO))
    ours, folder = made.draw(PROMPTS, [3, 4]), made.save(tmp_path / "whole")
    torch.testing.assert_close(made.draw(PROMPTS, [3, 4]), ours)  # saving changed nothing
    loaded = diffusers.DiffusionPipeline.from_pretrained(folder)
    assert type(loaded) is type(made.pipeline)
    assert not [name for name, _ in loaded.unet.named_parameters() if "lora" in name or "base_layer" in name]
    back = painter(load_pipeline(str(folder)), PainterSettings(steps=2, last="drop"))
    torch.testing.assert_close(back.draw(PROMPTS, [3, 4]), ours, rtol=0, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_an_interrupted_save_leaves_what_was_there(tmp_path, monkeypatch):
    made = shaken(painter(pipeline("sd"), TWO))
    whole, file = made.save(tmp_path / "whole"), made.save_lora(tmp_path / "lora")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shaken(made)

    def cut_short(self, folder, **more):
        folder.mkdir(exist_ok=True, parents=True)
        (folder / more.get("weight_name", "model_index.json")).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "save_pretrained", cut_short)
    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "save_lora_weights", cut_short)
    for save, place in ((made.save, whole), (made.save_lora, file.parent)):
        with pytest.raises(KeyboardInterrupt):
            save(place)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_wrong_pipelines_are_named(tmp_path, monkeypatch):
    only = "LatentConsistencyModelPipeline, StableDiffusionPipeline and StableDiffusionXLPipeline can be tuned"
    (tmp_path / "flux").mkdir()
    (tmp_path / "flux" / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(PixwardError, match=f"is a FluxPipeline: only {only}"):
        load_pipeline(tmp_path / "flux")
    with pytest.raises(PixwardError, match=f"this is a AutoencoderKL: only {only}"):
        load_pipeline(vae())
    with pytest.raises(PixwardError, match="holds no pipeline: it lacks the model_index.json"):
        load_pipeline(tmp_path)
    with pytest.raises(PixwardError, match="there is no folder nobody/nothing, and no such pipeline on the hub"):
        load_pipeline("nobody/nothing")
    (tmp_path / "flux" / "model_index.json").write_text("{")
    with pytest.raises(PixwardError, match="cannot read"):
        load_pipeline(tmp_path / "flux")
    folder = painter(pipeline("sd")).save(tmp_path / "sd")
    with pytest.raises(PixwardError, match="is a file: give the folder"):
        load_pipeline(folder / "model_index.json")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    with pytest.raises(PixwardError, match="cannot load the pipeline") as caught:
        load_pipeline(folder)
    assert "\n" not in str(caught.value)
    half = pipeline("sd")
    half.vae = None
    with pytest.raises(PixwardError, match="without its vae"):
        painter(half)
    with pytest.raises(PixwardError, match="reads 9 channels and latents have 4"):
        painter(pipeline("sd", in_channels=9))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(PixwardError, match=r"pip install 'pixward\[denoise\]'"):
        load_pipeline(tmp_path)


def test_a_last_step_without_noise_is_dropped():
    for kind, settings in (("xl", PainterSettings(steps=4)), ("sd", PainterSettings("euler", steps=4))):
        made = painter(pipeline(kind), settings)
        assert made.env.learnt == (0, 1, 2)
    assert painter(pipeline("sd"), PainterSettings(steps=4)).env.learnt == (0, 1, 2, 3)


def test_wrong_settings_are_named():
    for settings, fault in (
        (PainterSettings(steps=51), "steps must lie in 1 to 50"),
        (PainterSettings("ddim", steps=1001), "cannot be larger than"),
        (PainterSettings(height=15), "height must be a multiple of 2, got 15"),
        (PainterSettings(lora=Lora(2, 2.0, ("nowhere",))), "LoRA does not fit the UNet"),
    ):
        with pytest.raises(PixwardError, match=fault):
            painter(pipeline("lcm"), settings)
    flow = diffusers.FlowMatchEulerDiscreteScheduler()
    made = pipeline("lcm")
    made.scheduler = flow
    with pytest.raises(PixwardError, match="is no scheduler of a diffusion model"):
        painter(made)
