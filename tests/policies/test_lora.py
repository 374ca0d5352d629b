from __future__ import annotations

import sys

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

import diffusers
import peft
from safetensors.torch import load_file, save_file
from tests.policies.pipes import OPTIONS, PROMPTS, TWO, pipeline, plain, shaken, theirs, vae

from pixward.denoise.painter import painter
from pixward.errors import PixwardError
from pixward.policies.hub import Lora
from pixward.policies.lora import ATTENTION, DDPO_LORA, FILE, NAME
from pixward.policies.pipelines import PainterSettings
from pixward.train.pictures import PictureTask
from pixward.train.ppo import PPOSettings, ppo
from pixward.train.workers import Workers


def train(made, steps=2, **more):
    """A few updates towards bright pictures."""

    def bright(images, prompts, metadata):
        return images.mean((1, 2, 3))

    def batches(index, count):
        prompts = [PROMPTS[(index + place) % 2] for place in range(count)]
        return {"prompts": prompts, **made.read(prompts)}

    settings = PPOSettings(steps=steps, batch=2, accumulate=1, minibatch=2, learning_rate=1e-2, checkpoint_every=1)
    return list(ppo(made.env, made.policy, PictureTask(batches, bright), settings, None, Workers(), **more))


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


def test_checkpointing_changes_no_gradient_through_the_policy_before_tuning():
    grads = []
    for checkpointing in (False, True):
        made = shaken(painter(pipeline("sd"), PainterSettings(steps=2, lora=DDPO_LORA, checkpointing=checkpointing)))
        noise = made.env.noise(2, torch.Generator().manual_seed(0)).requires_grad_(True)
        start = made.start().step(made.env.reset({"noise": noise, **made.read(PROMPTS)}))
        start.mean.square().sum().backward()
        assert made.pipeline.unet.is_gradient_checkpointing == checkpointing
        grads.append(noise.grad)
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-4)


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
