"""Detectors of COCO's 80 classes whose weights are in the optional data folder: what they see in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

Found = tuple[Tensor, Tensor, Tensor]
"""Boxes ``(n, 4)`` as shares of the picture, float64 in [0, 1], labels ``(n,)`` and scores ``(n,)``, surest first."""


class Detector(Protocol):
    """``detector(path) -> Found``, at most 100 boxes."""

    def __call__(self, path: Path) -> Found:
        """What it sees in a file."""
        ...


class Yolox:
    """YOLOX-nano (Megvii, Apache-2.0) through onnxruntime."""

    SIDE, STRIDES = 416, (8, 16, 32)

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        grids = [
            np.stack(np.meshgrid(np.arange(self.SIDE // s), np.arange(self.SIDE // s)), -1).reshape(-1, 2)
            for s in self.STRIDES
        ]
        self.grid = np.concatenate(grids)
        self.stride = np.concatenate([np.full((len(g), 1), s) for g, s in zip(grids, self.STRIDES, strict=True)])

    def __call__(self, path: Path) -> Found:
        """What it sees in a file."""
        picture = Image.open(path).convert("RGB")
        ratio = min(self.SIDE / picture.height, self.SIDE / picture.width)
        small = picture.resize((int(picture.width * ratio), int(picture.height * ratio)), Image.Resampling.BILINEAR)
        canvas = np.full((self.SIDE, self.SIDE, 3), 114, np.float32)
        canvas[: small.height, : small.width] = np.asarray(small)[..., ::-1]
        (out,) = self.session.run(None, {"images": canvas.transpose(2, 0, 1)[None]})
        centre, size = (out[0, :, :2] + self.grid) * self.stride, np.exp(out[0, :, 2:4]) * self.stride
        boxes = np.concatenate([centre - size / 2, centre + size / 2], 1) / ratio
        scores = out[0, :, 4:5] * out[0, :, 5:]
        rows, labels = (scores > 0.01).nonzero()
        return surest(boxes[rows] / np.tile([picture.width, picture.height], 2), labels, scores[rows, labels], 0.65)


def surest(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, limit: float) -> Found:
    """What non-maximum suppression leaves, at most 100 boxes, cut at the picture's rim."""
    kept = suppress(boxes, labels, scores, limit)[:100]
    found = boxes[kept].astype(np.float64).clip(0, 1), labels[kept], scores[kept].astype(np.float64)
    return tuple(torch.from_numpy(part) for part in found)  # type: ignore[return-value]


def suppress(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, limit: float) -> np.ndarray:
    """Indices that non-maximum suppression within each class leaves, surest first."""
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low, high = np.maximum(boxes[first, :2], boxes[rest, :2]), np.minimum(boxes[first, 2:], boxes[rest, 2:])
        inside = (high - low).clip(0).prod(1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        order = rest[(inside / (area[first] + area[rest] - inside) <= limit) | (labels[rest] != labels[first])]
    return np.array(kept, int)


class FastestDet:
    """FastestDet (dog-qiuqiu, BSD-3), its weights in layers of the same names."""

    SIDE = 352

    def __init__(self, path: Path) -> None:
        self.net = _FastestNet()
        self.net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.net.eval()

    @torch.no_grad()
    def __call__(self, path: Path) -> Found:
        """What it sees in a file."""
        picture = Image.open(path).convert("RGB").resize((self.SIDE, self.SIDE), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(picture)[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
        sure, place, classes = self.net(pixels)
        share, labels = classes[0].flatten(1).max(0)
        scores = sure[0].flatten() ** 0.6 * share**0.4
        rows, columns = torch.meshgrid(*(torch.arange(n) for n in sure.shape[2:]), indexing="ij")
        count = torch.tensor(sure.shape[:1:-1])[:, None]  # (W, H) of the grid
        centre = (place[0, :2].flatten(1).tanh() + torch.stack([columns.flatten(), rows.flatten()])) / count
        half = place[0, 2:].flatten(1).sigmoid() / 2
        boxes = torch.cat([centre - half, centre + half]).T
        kept = scores > 0.01
        return surest(boxes[kept].numpy(), labels[kept].numpy(), scores[kept].numpy(), 0.45)


def _unit(
    inside: int, out: int, side: int, stride: int = 1, *, each: bool = False, relu: bool = True
) -> list[nn.Module]:
    """A convolution, of each channel by itself with ``each``, with its normalisation."""
    groups = inside if each else 1
    layer = nn.Conv2d(inside, out, side, stride, side // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(out), *([nn.ReLU()] if relu else [])]


class _Block(nn.Module):
    """A block of ShuffleNet V2 (Ma et al., ECCV 2018)."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        width = out // 2
        self.branch_main = nn.Sequential(
            *_unit(inside, width, 1),
            *_unit(width, width, 3, stride, each=True, relu=False),
            *_unit(width, out - inside, 1),
        )
        self.branch_proj = (
            nn.Sequential(*_unit(inside, inside, 3, stride, each=True, relu=False), *_unit(inside, inside, 1))
            if stride == 2
            else None
        )

    def forward(self, images: Tensor) -> Tensor:
        if self.branch_proj is not None:
            return torch.cat([self.branch_proj(images), self.branch_main(images)], 1)
        return torch.cat([images[:, ::2], self.branch_main(images[:, 1::2])], 1)


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_unit(3, 24, 3, 2))
        for stage, (inside, out, blocks) in enumerate([(24, 48, 4), (48, 96, 8), (96, 192, 4)], 2):
            first, rest = _Block(inside, out, 2), [_Block(out // 2, out, 1) for _ in range(blocks - 1)]
            setattr(self, f"stage{stage}", nn.Sequential(first, *rest))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.first_conv(images), 3, 2, 1)
        found = []
        for stage in (self.stage2, self.stage3, self.stage4):
            x = stage(x)
            found.append(x)
        return found


class _Conv1x1(nn.Module):
    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*_unit(inside, out, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.conv1x1(images)


class _Pyramid(nn.Module):
    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.Conv1x1 = _Conv1x1(inside, out)
        self.S1, self.S2, self.S3 = (
            nn.Sequential(*(layer for _ in range(n) for layer in _unit(out, out, 5, each=True))) for n in (1, 2, 3)
        )
        self.output = nn.Sequential(*_unit(3 * out, out, 1, relu=False))

    def forward(self, images: Tensor) -> Tensor:
        x = self.Conv1x1(images)
        return F.relu(x + self.output(torch.cat([self.S1(x), self.S2(x), self.S3(x)], 1)))


class _Head(nn.Module):
    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.conv5x5 = nn.Sequential(*_unit(inside, inside, 5, each=True), *_unit(inside, out, 1, relu=False))

    def forward(self, images: Tensor) -> Tensor:
        return self.conv5x5(images)


class _DetectHead(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _Conv1x1(width, width)
        self.obj_layers, self.reg_layers, self.cls_layers = _Head(width, 1), _Head(width, 4), _Head(width, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.conv1x1(images)
        return self.obj_layers(x).sigmoid(), self.reg_layers(x), self.cls_layers(x).softmax(1)


class _FastestNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.SPP, self.detect_head = _Backbone(), _Pyramid(336, 96), _DetectHead(96, 80)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        near, middle, far = self.backbone(images)
        large = F.interpolate(far, scale_factor=2)
        return self.detect_head(self.SPP(torch.cat([F.avg_pool2d(near, 3, 2, 1), middle, large], 1)))
