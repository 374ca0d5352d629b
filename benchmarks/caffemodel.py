"""Convolutions of a ``.caffemodel``, read without Caffe: the few fields of its protocol buffers that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

LAYER, BLOBS, SHAPE, DATA, DIM = 100, 7, 7, 5, 1
"""Field numbers of caffe.proto: NetParameter.layer, LayerParameter.blobs, BlobProto.shape and .data, BlobShape.dim."""


def read_convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Kernel ``(out, in, 3, 3)`` and bias ``(out,)`` of every layer with weights, in the order of the file."""
    layers = []
    for number, layer in fields(path.read_bytes()):
        if number == LAYER:
            blobs = [blob(value) for inner, value in fields(layer) if inner == BLOBS]
            if blobs:
                kernel, bias = blobs
                layers.append((kernel, bias.flatten()))
    return layers


def blob(message: bytes) -> Tensor:
    shape, data = [], np.zeros(0, "<f4")
    for number, value in fields(message):
        if number == SHAPE:
            shape = [length for inner, packed in fields(value) if inner == DIM for length in varints(packed)]
        elif number == DATA:
            data = np.frombuffer(value, "<f4")
    return torch.from_numpy(data.copy()).view(shape)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Field number and content of each field; numbers come as their bytes."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        begin, kind = at, key & 7
        if kind == 0:
            _, at = varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, begin = varint(message, at)
            at = begin + length
        else:
            raise ValueError(f"wire type {kind} at byte {at}: no protocol buffer")
        yield key >> 3, message[begin:at]


def varints(packed: bytes) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = varint(packed, at)
        yield value


def varint(message: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
