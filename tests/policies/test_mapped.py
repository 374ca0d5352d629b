from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pixward.editors.chain import PHOTO, PHOTO_SPACE
from pixward.policies.goal import GoalPolicy, GoalSettings
from pixward.policies.mapped import (
    MappedPolicy,
    MappedResponse,
    MapSettings,
    SliderMap,
    chain_response,
    describe_map,
    load_map,
)
from pixward.policies.response import pixel_features
from pixward.policies.weights import save_weights

SLIDERS = 4


def a_map(seed: int = 0, bend: float = 0.1) -> SliderMap:
    torch.manual_seed(seed)
    found = SliderMap(MapSettings(SLIDERS, (0.2, 0.0, -0.1, 0.0), width=8))
    with torch.no_grad():
        found.linear.weight.copy_(0.5 * torch.randn(12, SLIDERS))
        for parameter in found.bend.parameters():
            parameter.mul_(bend)
    return found


def photo(side: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.nn.functional.interpolate(
        torch.rand(1, 3, 5, 5, generator=generator), size=(side, side), mode="bilinear"
    )


def pixels_of(image: torch.Tensor) -> torch.Tensor:
    return pixel_features(image).flatten(2).transpose(1, 2)


def test_defaults_lead_to_the_chains_defaults():
    found = a_map()
    assert torch.allclose(found(torch.tensor([found.settings.start])), torch.zeros(1, 12), atol=1e-6)


def test_the_inverse_finds_a_setting_that_exists():
    found = a_map()
    setting = torch.tensor([[0.5, -0.4, 0.1, 0.7], [-0.2, 0.9, 0.3, -0.6]])
    assert torch.allclose(found.inverse(found(setting).detach()), setting, atol=0.03)


def test_the_inverse_of_what_no_setting_reaches_stays_within_the_range():
    assert float(a_map().inverse(5 * torch.randn(6, 12)).abs().max()) <= 1


def test_tones_and_colours_are_the_chains_own():
    """Without clarity and sharpness the stand-in is ``chain:photo`` itself."""
    setting = (torch.rand(3, 12, generator=torch.Generator().manual_seed(1)) - 0.5) * 1.6
    setting[:, 10:] = 0
    image = photo()
    truth = PHOTO(image.expand(3, -1, -1, -1), PHOTO_SPACE.denormalize(setting))
    found = chain_response(pixels_of(image).expand(3, -1, -1), setting)
    assert torch.allclose(found, pixels_of(truth)[..., :3], atol=2e-5)


def test_local_contrast_goes_the_chains_way():
    """Clarity's and sharpness' own blurs are other ones, so only their direction and rough size are asked for."""
    image, setting = photo(64), torch.zeros(1, 12)
    for slider in (10, 11):
        moved = setting.clone()
        moved[0, slider] = 0.5
        truth = (PHOTO(image, PHOTO_SPACE.denormalize(moved)) - image).flatten(2).transpose(1, 2).flatten()
        found = (chain_response(pixels_of(image), moved) - pixels_of(image)[..., :3]).flatten()
        assert float(torch.corrcoef(torch.stack([truth, found]))[0, 1]) > 0.7


def test_derivatives_against_differences():
    mapped = MappedResponse(a_map()).double()
    pixels, params = pixels_of(photo()).double()[0], torch.tensor([0.3, -0.2, 0.1, 0.4], dtype=torch.float64)
    values, slopes = mapped.jacobian(pixels, params)
    with torch.no_grad():
        assert torch.allclose(values, mapped(pixels[None], params[None]).flatten())
        for i in range(SLIDERS):
            step = torch.zeros(SLIDERS, dtype=torch.float64)
            step[i] = 1e-6
            ahead, behind = (mapped(pixels[None], (params + sign * step)[None]).flatten() for sign in (1, -1))
            assert torch.allclose(slopes[:, i], (ahead - behind) / 2e-6, atol=2e-4)


def test_the_policy_speaks_the_editors_sliders():
    torch.manual_seed(0)
    chain = GoalPolicy(GoalSettings(12, horizon=3, width=16)).eval()
    mapped = MappedPolicy(chain, a_map())
    assert mapped.settings.sliders == SLIDERS and mapped.settings.horizon == 3
    image = photo(24)
    state = {
        "source": image,
        "goal": (image * 0.7),
        "image": image,
        "params": torch.zeros(1, SLIDERS),
        "step": torch.ones(1),
        "history": torch.zeros(1, 3, SLIDERS + 1),
    }
    action = mapped(state)
    assert action.shape == (1, SLIDERS) and float(action.abs().max()) <= 1
    seen = {**state, "params": mapped.map(state["params"]).clamp(-1, 1), "history": torch.zeros(1, 3, 13)}
    assert torch.allclose(action, mapped.map.inverse(chain(seen)))


def test_saved_and_loaded(tmp_path: Path):
    found, path = a_map(), tmp_path / "map.safetensors"
    save_weights(path, found.state_dict(), "map", describe_map(found))
    again = load_map(path)
    setting = torch.rand(5, SLIDERS) * 2 - 1
    assert torch.allclose(again(setting), found(setting), atol=2e-3)
    save_weights(path, found.state_dict(), "map", {"sliders": 3, "start": [0, 0, 0]})
    with pytest.raises(ValueError, match="fit it again"):
        load_map(path)


def test_a_start_of_another_length_is_refused():
    with pytest.raises(ValueError, match="3 values"):
        SliderMap(MapSettings(3, (0.0,)))
