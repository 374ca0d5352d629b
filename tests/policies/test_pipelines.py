from __future__ import annotations

import pytest
import torch

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

from pixward.checks import check_env, check_policy
from pixward.denoise.modules import TOKENS, WORDS, new_words
from pixward.denoise.painter import Painter, painter
from pixward.policies.lora import ATTENTION, DDPO_LORA, NAME
from pixward.policies.pipelines import PainterSettings
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
    if "ddim" in case or case == "xl":
        own = {**pipe.scheduler.config, "clip_sample": "odd" in case}
        own.pop("_use_default_values", None)  # as if read from a file
        pipe.scheduler = diffusers.DDIMScheduler.from_config(own)
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
    check_policy(made.policy, state)
    check_env(
        made.env, {"noise": made.env.noise(2), **made.read(PROMPTS)}, lambda state: made.policy.sample(state).value
    )
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


@pytest.mark.parametrize("kind", ["lcm", "sd"])
def test_a_few_updates_change_nothing_but_lora(kind):
    made = painter(pipeline(kind), PainterSettings(steps=2, last="drop", lora=DDPO_LORA, checkpointing=True))
    parts = {name: getattr(made.pipeline, name) for name in ("unet", "vae", "text_encoder")}
    before = {name: {key: value.clone() for key, value in part.state_dict().items()} for name, part in parts.items()}
    base, drawn = theirs(pipeline(kind), **OPTIONS[kind]), made.draw(PROMPTS, [3, 4])
    torch.testing.assert_close(drawn, base, rtol=0, atol=1e-4)
    lines = train(made, start=made.start())
    assert [line["step"] for line in lines] == [1, 2] and lines[0]["kl"] == 0 < lines[1]["kl"]
    changed = {
        f"{name}.{key}"
        for name, part in parts.items()
        for key, value in part.state_dict().items()
        if not torch.equal(value, before[name][key])
    }
    assert changed and all(f".{NAME}." in key for key in changed)
    assert {key.split(".lora_")[0].rsplit("attn", 1)[1][2:] for key in changed} == set(ATTENTION)


OPTIONS = {
    "lcm": {"timesteps": [999, 499], "guidance_scale": 8.0},
    "sd": {"num_inference_steps": 2, "guidance_scale": 5.0},
}
