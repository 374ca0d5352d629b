from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from pixward.errors import PixwardError
from pixward.policies.hub import HubPolicy, Lora, load_hub
from pixward.run import Run
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.task import RewardTask
from pixward.train.workers import Workers
from pixward.types import Decoding, TokenPolicy


@pytest.fixture(scope="module", params=["gpt2", "bert"])
def folder(request, tmp_path_factory):
    """A tiny model of the hub's kind, random, as ``save_pretrained`` writes it."""
    import transformers as t

    torch.manual_seed(0)
    encoder = t.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    if request.param == "gpt2":
        decoder = t.GPT2Config(
            vocab_size=11, n_positions=16, n_embd=24, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2
        )
    else:
        decoder = t.BertConfig(
            vocab_size=11,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
        )
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 2
    model = t.VisionEncoderDecoderModel(config)
    for weight in model.parameters():  # as they are made, all words are nearly alike
        torch.nn.init.normal_(weight, std=0.3)
    path = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(path)
    said = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.2]}
    (path / "preprocessor_config.json").write_text(json.dumps(said))
    return path


def images(count=3, size=16):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def seeded():
    return torch.Generator().manual_seed(0)


def flat(policy):
    return {name: weight.detach().clone() for name, weight in policy.named_parameters()}


def test_one_line_makes_a_policy(folder):
    policy = load_hub(folder, length=6)
    assert isinstance(policy, HubPolicy) and isinstance(policy, TokenPolicy)
    assert (policy.settings.start, policy.settings.end, policy.settings.size) == (1, 2, (16, 16))
    assert policy.settings.mean == (0.4, 0.5, 0.6)
    assert policy.sample(images(size=40), 2, generator=seeded()).tokens.shape == (3, 2, 6)


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(0.7, 0.8)])
@pytest.mark.parametrize("lora", [None, Lora(4)])
def test_sampled_and_rescored_agree(folder, decoding, lora):
    policy = load_hub(folder, length=6, lora=lora)
    drawn = policy.sample(images(), 5, decoding, seeded())
    scored = policy.log_prob(images(), drawn.tokens, decoding)
    torch.testing.assert_close(scored.log_probs, drawn.log_probs, rtol=0, atol=1e-5)
    assert float(drawn.log_probs.min()) < -0.5


def test_greedy_is_generate(folder):
    policy = load_hub(folder, length=6)
    pixels = (images() - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / 0.2
    said = policy.model.generate(
        pixels, max_new_tokens=6, do_sample=False, num_beams=1, decoder_start_token_id=1, eos_token_id=2, pad_token_id=2
    )[:, 1:]
    said = torch.nn.functional.pad(said, (0, 6 - said.shape[1]), value=2)
    assert torch.equal(policy.sample(images(), 1, Decoding(0)).tokens[:, 0], said)


def test_each_picture_is_encoded_once(folder):
    policy = load_hub(folder, length=4)
    seen = []
    policy.model.get_encoder().register_forward_hook(
        lambda module, given, options, out: seen.append(len(options["pixel_values"])), with_kwargs=True
    )
    drawn = policy.sample(images(), 5, generator=seeded())
    policy.log_prob(images(), drawn.tokens)
    assert seen == [3, 3]


def test_lora_learns_and_the_rest_stays(folder, tmp_path):
    policy = load_hub(folder, length=3, lora=Lora(4))
    start, before = policy.start(), flat(policy)
    drawn = policy.sample(images(), 4, generator=seeded())
    base = load_hub(folder, length=3).log_prob(images(), drawn.tokens).total
    torch.testing.assert_close(start.log_prob(images(), drawn.tokens).total, base)

    def sevens(tokens, batch):
        return (tokens == 7).float().mean(2)

    task = RewardTask(lambda index: {"images": images()}, [sevens])
    settings = ReinforceSettings(steps=40, samples=8, learning_rate=2e-2, warmup=1, checkpoint_every=20, log_every=20)
    with Run(tmp_path, tensorboard=False) as run:
        lines = list(reinforce(policy, task, settings, run, Workers(), start))
    assert lines[-1]["reward"] > lines[0]["reward"] + 0.03
    assert lines[-1]["kl"] > 0.01
    after = flat(policy)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("lora_" in name for name in changed)
    assert not [name for name, weight in policy.named_parameters() if weight.requires_grad and "lora_" not in name]
    torch.testing.assert_close(start.log_prob(images(), drawn.tokens).total, base)


def test_a_grammar_is_kept(folder):
    class Odd:
        def allowed(self, tokens):
            return (torch.arange(11) % 2 == 1).expand(len(tokens), 11)

    policy = load_hub(folder, length=4, grammar=Odd())
    drawn = policy.sample(images(), 5, generator=seeded())
    assert bool((drawn.tokens % 2 == 1).all())
    scored = policy.log_prob(images(), drawn.tokens)
    torch.testing.assert_close(scored.log_probs, drawn.log_probs, rtol=0, atol=1e-5)


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(PixwardError, match="no LoRA to switch off"):
        load_hub(folder).start()
    with pytest.raises(PixwardError, match="gives no model"):
        load_hub(tmp_path)
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        load_hub(folder).sample(torch.rand(2, 1, 16, 16), 1)
