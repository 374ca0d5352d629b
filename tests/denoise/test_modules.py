"""The small models' parts: how large they are, how prompts are read, and that guidance says nothing at first."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from transformers import CLIPTokenizer

from pixward.denoise.modules import GUIDANCE, LATENT, SIZE, TOKENS, WORDS, new_codec, new_denoiser, new_words, read


def weights(module):
    return sum(weight.numel() for weight in module.parameters())


def test_the_codec_makes_latents_a_quarter_as_wide():
    codec = new_codec()
    latents = codec.encode(torch.zeros(2, 3, SIZE, SIZE)).latent_dist.mean
    assert tuple(latents.shape) == (2, *LATENT)
    assert tuple(codec.decode(latents).sample.shape) == (2, 3, SIZE, SIZE)
    assert weights(codec) < 0.45e6


def test_a_denoiser_that_is_told_its_guidance_is_as_one_that_is_not():
    torch.manual_seed(0)
    plain, guided = new_denoiser(), new_denoiser(guided=True)
    assert weights(plain) < 1.55e6
    missing, unexpected = guided.load_state_dict(plain.state_dict(), strict=False)
    assert missing == ["time_embedding.cond_proj.weight"] and not unexpected
    latents, times, prompt = torch.randn(2, *LATENT), torch.tensor([3, 700]), torch.randn(2, TOKENS, WORDS)
    with torch.no_grad():
        said = guided(latents, times, prompt, timestep_cond=torch.randn(2, GUIDANCE)).sample
        torch.testing.assert_close(said, plain(latents, times, prompt).sample)
        assert not torch.allclose(said, plain(latents, times, -prompt).sample)


def test_known_words_are_one_token_and_others_are_spelt(tmp_path):
    tokenizer, words = new_words(["a tiger on grass", "an ant"])
    assert tokenizer.tokenize("A Tiger on grass") == ["a</w>", "tiger</w>", "on</w>", "grass</w>"]
    spelt = tokenizer.tokenize("zébra")
    assert len(spelt) > 1 and tokenizer.unk_token not in spelt[:1]
    numbers = read(tokenizer, ["a tiger", "", "a tiger " * 20])
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert tuple(numbers.shape) == (3, TOKENS) and numbers.dtype == torch.int64
    assert numbers[0, 0] == start and numbers[0, 3] == end and (numbers[0, 4:] == end).all()
    assert numbers[1, :2].tolist() == [start, end] and numbers[2, -1] == end
    assert int(numbers.max()) < words.config.vocab_size
    assert tuple(words(numbers)[0].shape) == (3, TOKENS, WORDS)
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert torch.equal(read(again, ["an ant on zébra"]), read(tokenizer, ["an ant on zébra"]))
