from __future__ import annotations

import pytest
import torch
from torch import nn

from pixward.checks import check_policy
from pixward.ops.sampler import ddim_sampler, euler_ancestral_sampler, lcm_sampler
from pixward.policies.denoiser import RLCM_GUIDANCE, DenoiserPolicy, Guidance, embed_guidance

SAMPLERS = {"lcm": lcm_sampler(4), "ddim": ddim_sampler(4), "euler": euler_ancestral_sampler(4, "head")}


class Net(nn.Module):
    """Answers in a tuple, and remembers what it was told."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.words = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(5, 4)
        self.told = {}

    def forward(self, latents, times, encoder_hidden_states=None, timestep_cond=None, added_cond_kwargs=None):
        self.told = {"times": times, "cond": timestep_cond, "added": added_cond_kwargs, "seen": latents}
        shown = self.layer(latents) + times.float()[:, None, None, None] / 1000
        if encoder_hidden_states is not None:
            shown = shown + self.words(encoder_hidden_states).mean(1)[:, :, None, None]
        return (shown,)


def state(**more):
    generator = torch.Generator().manual_seed(1)
    made = {
        "latents": torch.randn(3, 4, 6, 6, generator=generator),
        "step": torch.tensor([0, 2, 3]),
        "prompt": torch.randn(3, 7, 5, generator=generator),
        "unconditional": torch.randn(3, 7, 5, generator=generator),
    }
    return {**made, **more}


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("guidance", [Guidance(), Guidance(3.0), Guidance(8.0, 16)], ids=["none", "two", "embedded"])
def test_it_keeps_the_contract(kind, guidance):
    check_policy(DenoiserPolicy(Net(), SAMPLERS[kind], guidance), state())


def test_log_probability_is_that_of_torch_distributions():
    policy, at = DenoiserPolicy(Net(), SAMPLERS["ddim"]), state()
    action = policy.sample(at)
    said, mean, std = policy.log_prob(at, action.value)
    normal = torch.distributions.Independent(torch.distributions.Normal(mean, std.expand_as(mean)), 3)
    torch.testing.assert_close(said, normal.log_prob(action.value))
    torch.testing.assert_close(said, action.log_prob)
    assert not bool(action.baseline.any()) and action.memory["denoised"].shape == at["latents"].shape


def test_guidance_by_two_calls_is_the_formula():
    net, at = Net(), state()
    policy = DenoiserPolicy(net, SAMPLERS["lcm"], Guidance(3.0))
    said = policy.predict(at)
    assert policy.calls == 6 and policy.doubled
    with_, without = (
        net(at["latents"], policy.sampler.times(at["step"]), at[name])[0] for name in ("prompt", "unconditional")
    )
    torch.testing.assert_close(said, without + 3 * (with_ - without))


def test_the_network_is_told_times_and_sees_scaled_latents():
    for kind in ("lcm", "euler"):
        net, at = Net(), state()
        policy = DenoiserPolicy(net, SAMPLERS[kind])
        policy.predict(at)
        assert torch.equal(net.told["times"], SAMPLERS[kind].timesteps[at["step"]])
        torch.testing.assert_close(net.told["seen"], at["latents"] * SAMPLERS[kind].scales[at["step"]].view(3, 1, 1, 1))
        assert net.told["cond"] is None and policy.calls == 3


def test_embedded_guidance_is_diffusers():
    pipelines = pytest.importorskip(
        "diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img"
    )
    theirs = pipelines.LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, torch.tensor([7.0]), 256)
    torch.testing.assert_close(embed_guidance(8.0, 256, 2), theirs.expand(2, 256), rtol=1e-5, atol=1e-5)
    net = Net()
    DenoiserPolicy(net, SAMPLERS["lcm"], RLCM_GUIDANCE).predict(state())
    torch.testing.assert_close(net.told["cond"], theirs.expand(3, 256), rtol=1e-5, atol=1e-5)


def test_sdxl_is_told_what_it_asks_for():
    net = Net()
    more = {"pooled": torch.ones(3, 8), "unconditional_pooled": torch.zeros(3, 8), "sizes": torch.full((3, 6), 64.0)}
    DenoiserPolicy(net, SAMPLERS["ddim"], Guidance(2.0)).predict(state(**more))
    added = net.told["added"]
    assert torch.equal(added["text_embeds"], torch.cat([torch.zeros(3, 8), torch.ones(3, 8)]))
    assert torch.equal(added["time_ids"], torch.full((6, 6), 64.0))


@pytest.mark.parametrize("embedded", [0, 32])
def test_a_unet_of_diffusers_serves(embedded):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=5,
        attention_head_dim=4,
        time_cond_proj_dim=embedded or None,
    ).eval()
    policy = DenoiserPolicy(unet, SAMPLERS["lcm"], Guidance(4.0, embedded))
    check_policy(policy, {**state(), "latents": torch.randn(3, 4, 8, 8)})


def test_half_precision_networks_are_asked_in_theirs_and_scored_in_full():
    policy = DenoiserPolicy(Net().bfloat16(), SAMPLERS["lcm"])
    action = policy.sample(state())
    assert policy.unet.told["seen"].dtype == torch.bfloat16
    assert action.value.dtype == action.log_prob.dtype == torch.float32


def test_faults_are_named():
    class Wrong(nn.Module):
        def forward(self, latents, times, encoder_hidden_states=None):
            return latents[:, :2]

    with pytest.raises(ValueError, match="needs both prompt and unconditional"):
        DenoiserPolicy(Net(), SAMPLERS["lcm"], Guidance(2.0)).predict({k: v for k, v in state().items() if k[0] != "u"})
    with pytest.raises(ValueError, match=r"must answer in the shape of the latents, \(3, 4, 6, 6\)"):
        DenoiserPolicy(Wrong(), SAMPLERS["lcm"]).predict(state())
    with pytest.raises(ValueError, match="must be even"):
        embed_guidance(2.0, 5, 1)
