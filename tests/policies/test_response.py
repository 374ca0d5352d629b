from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.policies.nets import detail
from pixward.policies.response import (
    Response,
    ResponseSettings,
    describe_response,
    load_response,
    pixel_features,
)
from pixward.policies.weights import save_weights


def network(sliders=3, width=10, layers=3) -> Response:
    torch.manual_seed(sliders)
    return Response(ResponseSettings(sliders, width, layers))


@pytest.mark.parametrize("sliders, width, layers", [(3, 10, 3), (1, 4, 1), (12, 16, 2)])
def test_jacobian_is_autograds(sliders, width, layers):
    response = network(sliders, width, layers).double()
    pixels, params = torch.randn(17, 7).double(), torch.randn(sliders).double()
    values, slopes = response.jacobian(pixels, params)
    assert values.shape == (51,)
    assert slopes.shape == (51, sliders)

    def predict(row):
        return response(pixels[None], row[None]).flatten()

    torch.testing.assert_close(values, predict(params))
    torch.testing.assert_close(slopes, torch.autograd.functional.jacobian(predict, params))


def test_each_picture_has_its_own_setting():
    response, pixels, params = network(), torch.rand(4, 9, 7), torch.randn(4, 3)
    together = response(pixels, params)
    assert together.shape == (4, 9, 3)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], response(pixels[i : i + 1], params[i : i + 1]))
    assert not torch.allclose(response(pixels, params.flip(0)), together, atol=1e-4)


def test_forward_by_hand():
    response = network(layers=2, width=2)
    weights = {name: value.double().numpy() for name, value in response.state_dict().items()}

    def silu(x):
        return x / (1 + np.exp(-x))

    pixel, row = np.linspace(-1, 1, 7), np.array([0.3, -0.8, 0.1])
    film = row
    for k in (0, 2, 4):
        film = weights[f"film.{k}.weight"] @ film + weights[f"film.{k}.bias"]
        film = silu(film) if k < 4 else film
    scales, shifts = film.reshape(2, 2, 2)
    hidden = weights["entry.weight"] @ pixel + weights["entry.bias"]
    hidden = silu(hidden * (1 + scales[0]) + shifts[0])
    hidden = weights["hidden.0.weight"] @ hidden + weights["hidden.0.bias"]
    hidden = silu(hidden * (1 + scales[1]) + shifts[1])
    expected = weights["exit.weight"] @ hidden + weights["exit.bias"] + pixel[:3]
    ours = response(torch.tensor(pixel[None, None]).float(), torch.tensor(row[None]).float())
    np.testing.assert_allclose(ours.detach().flatten().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_features_are_colour_and_surroundings():
    image = torch.rand(2, 3, 6, 5)
    features = pixel_features(image)
    assert features.shape == (2, 7, 6, 5)
    assert torch.equal(features[:, :3], image)
    assert torch.equal(features[:, 3:], detail(image))


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    response = network()
    save_weights(tmp_path / "own.safetensors", response.state_dict(), "response", describe_response(response))
    loaded = load_response(tmp_path / "own.safetensors")
    assert loaded.settings == response.settings
    assert not loaded.training
    pixels, params = torch.rand(1, 20, 7), torch.rand(1, 3)
    torch.testing.assert_close(loaded(pixels, params), response(pixels, params), atol=2e-3, rtol=0)


def test_weights_that_fit_no_response_are_named(tmp_path):
    response = network()
    for wrong in ({"sliders": 4}, {"sliders": 3, "depth": 1}, {}):
        save_weights(tmp_path / "own.safetensors", response.state_dict(), "response", wrong)
        with pytest.raises(ValueError, match="own.safetensors: these weights fit no response"):
            load_response(tmp_path / "own.safetensors")
