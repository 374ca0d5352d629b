from __future__ import annotations

import json
import sys

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

import diffusers
import peft
import transformers
from safetensors.torch import load_file, save_file

from pixward.checks import check_env, check_policy
from pixward.denoise.modules import TOKENS, WORDS, new_words
from pixward.denoise.painter import Painter, painter
from pixward.errors import PixwardError
from pixward.policies.hub import Lora
from pixward.policies.lora import ATTENTION, DDPO_LORA, FILE, NAME
from pixward.policies.pipelines import PainterSettings, load_pipeline
from pixward.train.pictures import PictureTask
from pixward.train.ppo import PPOSettings, ppo
from pixward.train.workers import Workers

PROMPTS = ["a red tiger", "a green unheard-of fish"]
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def unet(**more):
    made = diffusers.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "down_block_types": ("CrossAttnDownBlock2D",),
            "up_block_types": ("CrossAttnUpBlock2D",),
            "mid_block_type": None,
            "block_out_channels": (16,),
            "layers_per_block": 1,
            "cross_attention_dim": WORDS,
            "attention_head_dim": 8,
            "norm_num_groups": 4,
            **more,
        }
    )
    return made.eval()


def vae(**more):
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        mid_block_add_attention=False,
        **more,
    ).eval()


def pipeline(kind, scheduler=None, **unets):
    """A tiny random pipeline, with a real tokeniser."""
    torch.manual_seed(0)
    tokenizer, words = new_words([*PROMPTS, "blue cat"])
    if kind == "xl":
        config = {**words.config.to_dict(), "hidden_size": WORDS // 2, "num_attention_heads": 2}
        first = transformers.CLIPTextModel(transformers.CLIPTextConfig(**config))
        second = transformers.CLIPTextModelWithProjection(
            transformers.CLIPTextConfig(**config | {"projection_dim": 24, "hidden_act": "gelu"})
        )
        told = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 24 + 6 * 4,
        }
        made = diffusers.StableDiffusionXLPipeline(
            vae=vae(scaling_factor=0.13, latents_mean=[0.1] * 4, latents_std=[1.5] * 4),
            text_encoder=first.eval(),
            text_encoder_2=second.eval(),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=unet(**told, **unets),
            scheduler=scheduler or diffusers.EulerDiscreteScheduler(**SCALED, steps_offset=1),
            add_watermarker=False,
        )
    else:
        parts = {
            "vae": vae(scaling_factor=0.3),
            "text_encoder": words.eval(),
            "tokenizer": tokenizer,
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
        if kind == "lcm":
            scheduler = scheduler or diffusers.LCMScheduler(**SCALED)
            net = unet(time_cond_proj_dim=32, **unets)
            made = diffusers.LatentConsistencyModelPipeline(unet=net, scheduler=scheduler, **parts)
        else:
            scheduler = scheduler or diffusers.PNDMScheduler(**SCALED, steps_offset=1, skip_prk_steps=True)
            made = diffusers.StableDiffusionPipeline(unet=unet(**unets), scheduler=scheduler, **parts)
    made.set_progress_bar_config(disable=True)
    return made


def to_ddim(pipe):
    own = {"clip_sample": False, **pipe.scheduler.config}
    own.pop("_use_default_values", None)  # as if read from a file
    pipe.scheduler = diffusers.DDIMScheduler.from_config(own)
    return pipe


def theirs(pipe, prompts=PROMPTS, seeds=(3, 4), **more):
    """What plain diffusers draws."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipe(list(prompts), generator=generators, output_type="pt", **more).images


def train(made, steps=2, **more):
    """A few updates towards bright pictures."""

    def bright(images, prompts, metadata):
        return images.mean((1, 2, 3))

    def batches(index, count):
        prompts = [PROMPTS[(index + place) % 2] for place in range(count)]
        return {"prompts": prompts, **made.read(prompts)}

    settings = PPOSettings(steps=steps, batch=2, accumulate=1, minibatch=2, learning_rate=1e-2, checkpoint_every=1)
    return list(ppo(made.env, made.policy, PictureTask(batches, bright), settings, None, Workers(), **more))


def shaken(made):
    """LoRA that does something: as it is made, it does not."""
    torch.manual_seed(5)
    for name, weight in made.policy.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return made


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


# --- LoRA -------------------------------------------------------------------------------------------------------------

OPTIONS = {
    "lcm": {"timesteps": [999, 499], "guidance_scale": 8.0},
    "sd": {"num_inference_steps": 2, "guidance_scale": 5.0, "eta": 1.0},
    "xl": {"num_inference_steps": 2, "guidance_scale": 5.0, "eta": 1.0},
}
TWO = PainterSettings(steps=2, last="drop", lora=Lora(3, 7.0))


def plain(kind):
    """The same weights in plain diffusers, with the scheduler that ours stands for."""
    return pipeline(kind) if kind == "lcm" else to_ddim(pipeline(kind))


def test_two_updates_change_nothing_but_lora():
    made = painter(pipeline("sd"), PainterSettings(steps=2, last="drop", lora=DDPO_LORA, checkpointing=True))
    parts = {name: getattr(made.pipeline, name) for name in ("unet", "vae", "text_encoder")}
    before = {name: {key: value.clone() for key, value in part.state_dict().items()} for name, part in parts.items()}
    drawn = made.draw(PROMPTS, [3, 4])
    torch.testing.assert_close(drawn, theirs(plain("sd"), **OPTIONS["sd"]), rtol=0, atol=1e-4)
    lines = train(made, start=made.start())
    assert [line["step"] for line in lines] == [1, 2] and lines[0]["kl"] == 0 < lines[1]["kl"]
    changed = {
        f"{name}.{key}"
        for name, part in parts.items()
        for key, value in part.state_dict().items()
        if not torch.equal(value, before[name][key])
    }
    assert changed and all(f".{NAME}." in key for key in changed)
    assert {key.split(".lora_")[0].split("attn")[-1][2:] for key in changed} == set(ATTENTION)
    assert not torch.allclose(made.draw(PROMPTS, [3, 4]), drawn, atol=1e-3)


def test_the_start_is_the_base_and_lora_is_back_after_it():
    made = shaken(painter(pipeline("lcm"), TWO))
    base = painter(pipeline("lcm"), PainterSettings(steps=2, last="drop"))
    assert base.start() is None
    state = made.env.reset({"noise": made.env.noise(2, torch.Generator().manual_seed(0)), **made.read(PROMPTS)})
    tuned = made.policy.step(state).mean
    torch.testing.assert_close(made.start().step(state).mean, base.policy.step(state).mean)
    again = made.policy.step(state).mean
    assert torch.equal(again, tuned) and not torch.allclose(tuned, base.policy.step(state).mean, atol=1e-3)
    again.sum().backward()
    assert all(weight.grad is not None for weight in made.policy.parameters() if weight.requires_grad)


@pytest.mark.parametrize("kind", ["lcm", "sd", "xl"])
def test_a_saved_lora_is_read_by_plain_diffusers_and_by_us(kind, tmp_path):
    made = shaken(painter(pipeline(kind), TWO))
    ours, file = made.draw(PROMPTS, [3, 4]), made.save_lora(tmp_path / "new" / "lora")
    assert file == tmp_path / "new" / "lora" / "pytorch_lora_weights.safetensors"
    assert [path.name for path in file.parent.iterdir()] == [FILE]
    other = plain(kind)
    bare = theirs(other, **OPTIONS[kind])
    other.load_lora_weights(file.parent)
    torch.testing.assert_close(theirs(other, **OPTIONS[kind]), ours, rtol=0, atol=1e-4)
    assert float((bare - ours).abs().max()) > 1e-2
    # Back to go on: into a painter without LoRA, and one with another.
    for settings in (PainterSettings(steps=2, last="drop"), PainterSettings(steps=2, last="drop", lora=DDPO_LORA)):
        back = painter(pipeline(kind), settings)
        back.load_lora(file.parent)
        torch.testing.assert_close(back.draw(PROMPTS, [3, 4]), ours, rtol=0, atol=1e-5)
        assert back.settings.lora == Lora(3, 7.0, tuple(sorted(ATTENTION))) and back.start() is not None
        learnt = {name for name, weight in back.policy.named_parameters() if weight.requires_grad}
        assert learnt == {name for name, weight in made.policy.named_parameters() if weight.requires_grad}


def test_a_lora_of_somebody_else_is_tuned_on(tmp_path):
    other = plain("sd")
    torch.manual_seed(1)
    for part, targets in ((other.unet, ["to_q", "ff.net.2", "conv1"]), (other.text_encoder, ["q_proj"])):
        config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=targets, init_lora_weights=False)
        part.add_adapter(config, "theirs")
    layers = {
        f"{name}_lora_layers": peft.get_peft_model_state_dict(getattr(other, name), adapter_name="theirs")
        for name in ("unet", "text_encoder")
    }
    # Without the configuration beside it, as older files are: alpha is the rank then.
    other.save_lora_weights(tmp_path, weight_name="style.safetensors", **layers)
    want_from = plain("sd")
    want_from.load_lora_weights(tmp_path, weight_name="style.safetensors")
    want = theirs(want_from, **OPTIONS["sd"])
    made = painter(pipeline("sd"), PainterSettings(steps=2, last="drop", lora=DDPO_LORA))
    before = made.draw(PROMPTS, [3, 4])
    made.load_lora(tmp_path / "style.safetensors")
    made.load_lora(tmp_path / "style.safetensors")  # in place of itself
    torch.testing.assert_close(made.draw(PROMPTS, [3, 4]), want, rtol=0, atol=1e-4)
    assert float((want - before).abs().max()) > 1e-2
    assert not any(weight.requires_grad for weight in made.pipeline.text_encoder.parameters())
    train(made, steps=1)
    tuned, last = made.draw(PROMPTS, [3, 4]), plain("sd")
    last.load_lora_weights(made.save_lora(tmp_path / "on").parent)
    torch.testing.assert_close(theirs(last, **OPTIONS["sd"]), tuned, rtol=0, atol=1e-4)
    assert not torch.allclose(tuned, want, atol=1e-3)


def test_files_in_the_naming_of_other_trainers_are_read(tmp_path):
    shaken(painter(pipeline("sd"), TWO)).save_lora(tmp_path)
    held = {
        # kohya's: underscores, down and up, an alpha for each layer
        "lora_" + name.replace(".", "_").replace("_lora_A_weight", ".lora_down.weight"): weight
        for name, weight in load_file(tmp_path / FILE).items()
        if "lora_A" in name
    }
    held |= {
        "lora_" + name.replace(".", "_").replace("_lora_B_weight", ".lora_up.weight"): weight
        for name, weight in load_file(tmp_path / FILE).items()
        if "lora_B" in name
    }
    held |= {name.replace("lora_down.weight", "alpha"): torch.tensor(1.5) for name in held if "down.weight" in name}
    save_file(held, tmp_path / "kohya.safetensors")
    other, made = plain("sd"), painter(pipeline("sd"), PainterSettings(steps=2, last="drop"))
    other.load_lora_weights(tmp_path, weight_name="kohya.safetensors")
    made.load_lora(tmp_path / "kohya.safetensors")
    drawn = made.draw(PROMPTS, [3, 4])
    torch.testing.assert_close(drawn, theirs(other, **OPTIONS["sd"]), rtol=0, atol=1e-4)
    assert made.settings.lora.alpha == 1.5
    again = plain("sd")
    again.load_lora_weights(made.save_lora(tmp_path / "again").parent)
    torch.testing.assert_close(theirs(again, **OPTIONS["sd"]), drawn, rtol=0, atol=1e-4)


def test_adapters_are_full_precision_on_half_of_it(tmp_path):
    made = painter(pipeline("sd").to(torch.bfloat16), TWO)
    kinds = {NAME in name: weight.dtype for name, weight in made.policy.named_parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    [line] = train(made, steps=1)
    assert line["grad_norm"] > 0
    again = painter(pipeline("sd").to(torch.bfloat16))
    again.load_lora(made.save_lora(tmp_path))
    assert {weight.dtype for weight in again.policy.parameters() if weight.requires_grad} == {torch.float32}
    assert not next(again.pipeline.unet.parameters()).requires_grad


def test_checkpointing_keeps_less_in_memory_and_changes_no_gradient():
    kept, grads = [], []
    for checkpointing in (False, True):
        made = shaken(painter(pipeline("sd"), PainterSettings(steps=2, lora=DDPO_LORA, checkpointing=checkpointing)))
        state = made.env.reset({"noise": made.env.noise(2, torch.Generator().manual_seed(0)), **made.read(PROMPTS)})
        value, held = torch.ones_like(state["latents"]), []

        def note(tensor, held=held):
            held.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            made.policy.log_prob(state, value)[0].sum().backward()
        kept.append(sum(held))
        grads.append([weight.grad for weight in made.policy.parameters() if weight.requires_grad])
    assert kept[1] < 0.6 * kept[0]
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-4)


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


# --- the whole pipeline -----------------------------------------------------------------------------------------------


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


def test_wrong_lora_is_named(tmp_path, monkeypatch):
    made = shaken(painter(pipeline("sd"), TWO))
    before = made.draw(PROMPTS, [3, 4])
    narrow = shaken(painter(pipeline("sd", block_out_channels=(8,)), TWO)).save_lora(tmp_path / "narrow")
    deep = shaken(painter(pipeline("sd", layers_per_block=2), TWO)).save_lora(tmp_path / "deep")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.safetensors").write_bytes(b"half")
    weights = vae()
    weights.save_pretrained(tmp_path / "vae")
    for path, fault in (
        (narrow, r"does not fit: down_blocks.* is \(16, 16\) here, .* made for another model"),
        (deep, "does not fit: the UNet has no layer"),
        (tmp_path / "empty", "holds no pytorch_lora_weights"),
        (tmp_path / "nowhere", "there is no LoRA"),
        ("nowhere", "there is no LoRA nowhere"),
        (tmp_path / "broken.safetensors", "cannot read the LoRA"),
        (tmp_path / "vae", "holds no LoRA of a UNet"),
    ):
        with pytest.raises(PixwardError, match=fault) as caught:
            made.load_lora(path)
        assert "\n" not in str(caught.value)
    file = made.save_lora(tmp_path / "good")
    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "load_lora_into_text_encoder", lambda **_: 1 / 0)
    with pytest.raises(PixwardError, match="does not fit"):
        made.load_lora(file)
    torch.testing.assert_close(made.draw(PROMPTS, [3, 4]), before)
    assert {name.split(".")[-2] for name, weight in made.policy.named_parameters() if weight.requires_grad} == {NAME}
    with pytest.raises(PixwardError, match="no LoRA to save"):
        painter(pipeline("sd")).save_lora(tmp_path)
    loaded = pipeline("sd")
    loaded.unet.add_adapter(peft.LoraConfig(target_modules=["to_q"]), "style")
    with pytest.raises(PixwardError, match=r"has LoRA loaded already \(style\): merge it"):
        painter(loaded)
    with pytest.raises(PixwardError, match="holds something else than a pipeline"):
        made.save(tmp_path)
    with pytest.raises(PixwardError, match="is a file: give the name of a folder"):
        made.save(narrow)
    bare = pipeline("sd")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PixwardError, match=r"pip install 'pixward\[denoise\]'"):
        painter(bare, TWO)
