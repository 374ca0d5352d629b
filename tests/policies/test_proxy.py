from __future__ import annotations

import pytest
import torch

from pixward.checks import check_editor
from pixward.editors.chain import PAPER
from pixward.errors import PixwardError
from pixward.params import ParamSpace, ParamSpec
from pixward.policies.proxy import (
    KINDS,
    Cascaded,
    CascadedSettings,
    Filter,
    Monolithic,
    MonolithicSettings,
    ProxyEditor,
    describe_proxy,
    find_proxy,
    load_proxy,
    one_filter_each,
    with_planes,
)
from pixward.policies.weights import save_weights

FILTERS = (Filter("light", (0,)), Filter("colour", (2, 3)), Filter("texture", (1,), areawise=True))


def proxy(kind, sliders=4):
    """An untrained network that does something."""
    torch.manual_seed(3)
    if kind == "monolithic":
        made = Monolithic(MonolithicSettings(sliders, width=4))
    else:
        made = Cascaded(CascadedSettings(sliders, FILTERS, pointwise_width=6, areawise_width=4))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.requires_grad_(False)


def photo(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (32, 46)])
def test_any_size_and_a_setting_for_each_picture(kind, size):
    network, images, params = proxy(kind), photo(3, 3, *size), photo(3, 4, seed=1) * 2 - 1
    together = network(images, params)
    assert together.shape == images.shape
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], network(images[i : i + 1], params[i : i + 1]))
    assert not torch.allclose(together, network(images, params.flip(0)), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_proxy_nearly_hands_the_picture_through(kind):
    torch.manual_seed(0)
    made = Monolithic(MonolithicSettings(4)) if kind == "monolithic" else Cascaded(CascadedSettings(4, FILTERS))
    images = photo(2, 3, 16, 16)
    with torch.no_grad():
        assert float((made(images, torch.zeros(2, 4)) - images).abs().max()) < 0.2


def test_a_unet_sees_the_same_whatever_hangs_over():
    # A width that is no multiple of four is filled up by replicating, which a wider picture with that border equals.
    network, images, params = proxy("monolithic"), photo(1, 3, 8, 14), photo(1, 4)
    filled = torch.cat([images, images[..., -1:], images[..., -1:]], 3)
    torch.testing.assert_close(network(images, params), network(filled, params)[..., :14])


def reach(network, number=None):
    """How many pixels away a change of one pixel is still seen, and by which sliders the picture changes."""
    images, params = photo(1, 3, 31, 31), torch.zeros(1, 4)

    def run(pictures, setting):
        return network(pictures, setting) if number is None else network.stage(number, pictures, setting)

    changed = images.clone()
    changed[..., 15, 15] += 0.5
    far = ((run(changed, params) - run(images, params)).abs().amax((0, 1)) > 0).nonzero() - 15
    moved = [
        place
        for place in range(4)
        if not torch.equal(run(images, params + torch.eye(4)[place : place + 1]), run(images, params))
    ]
    return int(far.abs().max()), moved


def test_filters_see_their_own_sliders_and_as_far_as_they_should():
    network = proxy("cascaded")
    assert reach(network, 0) == (0, [0])
    assert reach(network, 1) == (0, [2, 3])
    assert reach(network, 2) == (5, [1])  # five layers of 3x3
    assert reach(network) == (5, [0, 1, 2, 3])
    assert reach(proxy("monolithic"))[1] == [0, 1, 2, 3]


def test_filters_work_one_after_another():
    network, images, params = proxy("cascaded"), photo(2, 3, 7, 6), photo(2, 4)
    by_hand = images
    for number, each in enumerate(FILTERS):
        planes = with_planes(by_hand, params[:, each.sliders])
        assert planes.shape == (2, 3 + len(each.sliders), 7, 6)
        assert torch.equal(planes[0, 3], params[0, each.sliders[0]].expand(7, 6))
        by_hand = by_hand + network.stages[number](planes)
    torch.testing.assert_close(network(images, params), by_hand)
    convolutions = [
        [tuple(layer.kernel_size) for layer in stage if isinstance(layer, torch.nn.Conv2d)] for stage in network.stages
    ]
    assert convolutions == [[(1, 1)] * 3, [(1, 1)] * 3, [(3, 3)] * 5]


def test_filters_must_hold_every_slider_once():
    for wrong in (FILTERS[:2], (*FILTERS, Filter("again", (0,)))):
        with pytest.raises(ValueError, match="filters must hold each of 4 sliders once"):
            CascadedSettings(4, wrong)


def test_one_filter_for_every_slider():
    space = ParamSpace([ParamSpec(name, -1, 1, 0, "", "Moves tones.") for name in "ab"])
    assert one_filter_each(space, [False, True]) == (Filter("a", (0,)), Filter("b", (1,), areawise=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_the_same_proxy_back(tmp_path, kind):
    made, path = proxy(kind), tmp_path / f"{kind}.safetensors"
    save_weights(path, made.state_dict(), kind, describe_proxy(made))
    loaded, images, params = load_proxy(path, kind), photo(1, 3, 9, 9), photo(1, 4)
    assert loaded.settings == made.settings
    torch.testing.assert_close(loaded(images, params), made(images, params), atol=5e-3, rtol=0)
    assert find_proxy(kind, "any:editor", 4, tmp_path).settings == made.settings
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_what_cannot_be_used_is_said(tmp_path):
    with pytest.raises(
        PixwardError,
        match="no cascaded proxy is shipped for my:editor: train one .pixward train edit --editor my:editor "
        "--algorithm cascaded --photos DIR --out RUN. and name its folder with --networks RUN",
    ):
        find_proxy("cascaded", "my:editor", 4)
    with pytest.raises(PixwardError, match=f"no monolithic proxy lies in {tmp_path}: train one"):
        find_proxy("monolithic", "my:editor", 4, tmp_path)
    made, path = proxy("monolithic"), tmp_path / "monolithic.safetensors"
    save_weights(path, made.state_dict(), "monolithic", describe_proxy(made))
    with pytest.raises(PixwardError, match="the monolithic proxy knows 4 sliders, and my:editor has 9: train one"):
        find_proxy("monolithic", "my:editor", 9, tmp_path)
    with pytest.raises(ValueError, match="does not hold a pixward cascaded"):
        load_proxy(path, "cascaded")
    save_weights(path, made.state_dict(), "monolithic", {"sliders": 4, "width": 8})
    with pytest.raises(PixwardError, match="fit no monolithic proxy of this version of pixward: train it again"):
        find_proxy("monolithic", "my:editor", 4, tmp_path)


def test_as_an_editor_it_takes_slider_units():
    sliders = len(PAPER.space)
    network = proxy("monolithic", sliders)
    editor = ProxyEditor("proxy", PAPER.space, network)
    images, action = photo(2, 3, 12, 12), photo(1, sliders) * 2 - 1
    expected = network(images, action.expand(2, -1)).clamp(0, 1)
    torch.testing.assert_close(editor(images, PAPER.space.denormalize(action)), expected, atol=1e-5, rtol=0)
    check_editor(editor)
