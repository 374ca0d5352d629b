from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixward.errors import PixwardError
from pixward.rewards.clip import Aesthetic, Clip, ClipSimilarity, load_aesthetic, load_aesthetic_head, prepared

transformers = pytest.importorskip("transformers")

IMAGES = torch.rand(3, 3, 20, 30, generator=torch.Generator().manual_seed(0))


def laion(width: int) -> nn.ModuleDict:
    """The head's layers under the names of its file."""
    sizes = [width, 12, 8, 6, 4, 1]
    chain = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.ModuleDict(
        {
            "layers": nn.Sequential(
                chain[0], nn.Dropout(0.2), chain[1], nn.Dropout(0.2), chain[2], nn.Dropout(0.1), chain[3], chain[4]
            )
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory, word_tokenizer):
    """A tiny CLIP on disk, as people have theirs."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        projection_dim=10,
        text_config={**small, "vocab_size": 9, "max_position_embeddings": 6, "eos_token_id": 3, "bos_token_id": 2},
        vision_config={**small, "image_size": 16, "patch_size": 8},
    )
    path = tmp_path_factory.mktemp("clip")
    transformers.CLIPModel(config).save_pretrained(path)
    word_tokenizer("a red star on grass").save_pretrained(path)
    return path


def test_the_aesthetic_score_is_that_of_laions_layers(folder, tmp_path):
    torch.manual_seed(1)
    head = laion(10)
    torch.save(head.state_dict(), tmp_path / "head.pth")
    reward = load_aesthetic(folder, tmp_path / "head.pth")
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model.get_image_features(pixel_values=prepared(IMAGES, 16))
        features = found if isinstance(found, torch.Tensor) else found.pooler_output
        expected = head.eval()["layers"](features / features.norm(dim=-1, keepdim=True))[:, 0]
    scores = reward(IMAGES, ["a", "b", "c"])
    assert scores.shape == (3,) and scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert scores.std() > 0


def test_gradients_reach_the_pictures_and_no_weight(folder):
    clip = Clip.load(folder)
    leaf = IMAGES.clone().requires_grad_(True)
    Aesthetic(clip.images, nn.Linear(10, 1))(leaf).sum().backward()
    assert leaf.grad is not None and bool((leaf.grad.flatten(1).norm(dim=1) > 0).all())
    assert all(weight.grad is None for weight in clip.parameters())


def test_another_scorer_by_callable():
    reward = Aesthetic(lambda images: images.mean((2, 3)), nn.Linear(3, 1, bias=False))
    reward.head.weight.data = torch.tensor([[1.0, 2, 3]])
    torch.testing.assert_close(reward(IMAGES), IMAGES.mean((2, 3)) @ torch.tensor([1.0, 2, 3]))


def test_similarity_is_the_cosine_of_picture_and_prompt(folder):
    clip = Clip.load(folder)
    prompts = ["a red star", "grass", "a star on grass and much more that is cut off"]
    scores = ClipSimilarity(clip)(IMAGES, prompts)
    a, b = clip.images(IMAGES), clip.texts(prompts)
    assert a.shape == b.shape == (3, 10)
    for i in range(3):
        expected = float(a[i] @ b[i]) / math.sqrt(float(a[i] @ a[i]) * float(b[i] @ b[i]))
        assert float(scores[i]) == pytest.approx(expected, abs=1e-5)
    # Padding to the longest of the batch changes nothing.
    torch.testing.assert_close(clip.texts(prompts[1:2])[0], b[1], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="3 pictures need as many prompts, got 1"):
        ClipSimilarity(clip)(IMAGES, ["a"])


@pytest.mark.parametrize("shape", [(64, 64), (40, 61), (12, 16), (150, 100)])
def test_preparation_is_clips_own(shape):
    """Theirs rounds to 8 bits and cuts off overshoots after either direction, ours only cuts, and at the end."""
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    rough = np.random.default_rng(0).integers(0, 256, (shape[0] // 4, shape[1] // 4, 3), np.uint8)
    picture = np.asarray(Image.fromarray(rough).resize(shape[::-1], Image.Resampling.BICUBIC)).copy()
    theirs = module.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    expected = theirs(images=[Image.fromarray(picture)], return_tensors="pt")["pixel_values"]
    found = prepared(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255, 32)
    assert found.shape == expected.shape == (1, 3, 32, 32)
    assert float((found - expected).abs().max()) < 0.06 and float((found - expected).abs().mean()) < 0.006


def test_a_head_is_read_from_either_kind_of_file(tmp_path):
    from safetensors.torch import save_file

    state = laion(10).state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    first, second = load_aesthetic_head(tmp_path / "a.pth"), load_aesthetic_head(tmp_path / "a.safetensors")
    assert torch.equal(first.weight, second.weight) and first.in_features == 10 and not first.weight.requires_grad


def test_faulty_heads_are_named(tmp_path, folder):
    with pytest.raises(PixwardError, match="there is no aesthetic head at .*none.pth"):
        load_aesthetic_head(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(PixwardError, match=f"{name} cannot be read as weights"):
            load_aesthetic_head(tmp_path / name)
    state = laion(10).state_dict()
    faults = {
        "other": ({"weight": torch.zeros(1)}, "holds no layers.N.weight"),
        "gap": ({k: v for k, v in state.items() if ".2." not in k}, "layer 4 reads 8 numbers, not 12"),
        "open": ({k: v for k, v in state.items() if ".7." not in k}, "does not end in one finite number"),
        "nan": ({**state, "layers.0.bias": torch.full((12,), torch.nan)}, "does not end in one finite number"),
        "list": ([torch.zeros(1)], "holds no weights"),
    }
    for name, (saved, message) in faults.items():
        torch.save(saved, tmp_path / f"{name}.pth")
        with pytest.raises(PixwardError, match=message):
            load_aesthetic_head(tmp_path / f"{name}.pth")
    torch.save(laion(768).state_dict(), tmp_path / "large.pth")
    with pytest.raises(PixwardError, match=r"large.pth reads 768 numbers, the CLIP .* gives 10"):
        load_aesthetic(folder, tmp_path / "large.pth")


class Trap:
    def __reduce__(self):
        return (print, ("run",))


def test_a_head_runs_no_code(tmp_path, capsys):
    torch.save({"layers.0.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(PixwardError, match="cannot be read as weights"):
        load_aesthetic_head(tmp_path / "trap.pth")
    assert "run" not in capsys.readouterr().out


def test_faults_of_clip_are_named(tmp_path, folder):
    with pytest.raises(PixwardError, match=f"cannot load CLIP from {tmp_path}"):
        Clip.load(tmp_path)
    with pytest.raises(ValueError, match=r"CLIP reads pictures \(B, 3, H, W\), got \(1, 1, 8, 8\)"):
        Clip.load(folder).images(torch.rand(1, 1, 8, 8))
    with pytest.raises(PixwardError, match="no tokeniser"):
        Clip(transformers.CLIPModel.from_pretrained(folder)).texts(["a"])
