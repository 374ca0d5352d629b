"""One step of a pixel policy as an ONNX model, for programs without torch."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.files import save_atomic
from pixward.ops.pixel import ActionSet, PixelAction
from pixward.policies.pixel import PixelPolicy
from pixward.policies.pixel_dilated import DilatedNet
from pixward.policies.pixel_half import SIGMA_UNIT

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
_SIZE = (21, 27)
"""Of the images that the network is traced with. Odd, so that what the half network does to odd sizes is traced too."""


def export_onnx(policy: PixelPolicy, path: Path) -> None:
    """Write one step of ``policy``: what goes in and comes out are float32; batch, height and width are free.

    Doing the actions is left to the program. Inputs, in this order, where the policy has them:

    - ``image`` ``(B, C, H, W)``, neither clipped nor rounded,
    - ``memory`` ``(B, M, H, W)``, in the first step zeros, later the ``next_memory`` of the step before,
    - ``condition`` ``(B, K, H, W)``, the same at every step,
    - ``outcomes`` ``(B, A, C, H, W)``, what each action would make of the image: for policies with foresight,
    - ``first``, one bool, true in the first step: for networks that look at the first image more closely.

    Outputs: ``logits`` ``(B, A, H, W)``, whose largest entry names each pixel's action, and ``next_memory``. The file's
    metadata: ``kind``; ``actions``, their names in order, and ``settings`` of the policy, both JSON; ``sigma_unit``,
    the noise, of 255, for which a condition plane is 1, empty where the condition is something else.

    Raises:
        PixwardError: the onnx package is missing, the policy sees the whole picture at a reduced size, which this
            exporter cannot follow, or the place cannot be written.
    """
    try:
        import onnx
    except ImportError:
        raise PixwardError("export needs the onnx package: pip install 'pixward[onnx]'") from None
    if policy.reach is None:
        raise PixwardError("a policy that sees the whole picture at once cannot be exported yet")
    # A copy: tracing replaces the actions. On the CPU, whatever it runs on.
    policy = copy.deepcopy(policy).cpu().eval()
    # The dilated network's memory begins as zeros, so that one graph does for all steps.
    model = _plain(policy) if isinstance(policy.net, DilatedNet) else _branched(policy)
    settings = policy.settings
    told = {
        "kind": "pixward pixel step",
        "actions": json.dumps(policy.actions.names),
        "settings": json.dumps(asdict(settings)),
        "sigma_unit": f"{SIGMA_UNIT:g}" if settings.noise is not None else "",
    }
    onnx.helper.set_model_props(model, told)
    model.producer_name, model.producer_version = "pixward", ""
    onnx.checker.check_model(model, full_check=True)
    save_atomic(path, lambda part: onnx.save(model, str(part)), force=True)


class _Step(nn.Module):
    """A policy's step that takes the inputs called ``names``, by position."""

    def __init__(self, policy: PixelPolicy, names: Sequence[str]) -> None:
        super().__init__()
        self.policy, self.names = policy, tuple(names)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        known = dict(zip(self.names, inputs, strict=True))
        if "outcomes" in known:
            self.policy.actions = _given(self.policy.actions, known["outcomes"])
        found = self.policy(known["image"], known.get("memory"), known.get("condition"))
        return tuple(part for part in found if part is not None)


def _given(actions: ActionSet, outcomes: Tensor) -> ActionSet:
    """``actions`` that are not computed: their outcomes are handed in."""
    looked_up = [
        PixelAction(action.name, lambda image, k=k: outcomes[:, k], action.reach)
        for k, action in enumerate(actions.actions)
    ]
    return ActionSet(actions.name, actions.channels, tuple(looked_up))


def _plain(policy: PixelPolicy) -> ModelProto:
    shapes = _shapes(policy, policy.settings.width if policy.settings.recurrent else 0)
    outputs = ["logits", "next_memory"] if policy.settings.recurrent else ["logits"]
    return _traced(_Step(policy, tuple(shapes)), shapes, outputs)


def _branched(policy: PixelPolicy) -> ModelProto:
    """The first step and a later one as the two branches of an ``If``, which share their weights."""
    from onnx import TensorProto, compose, helper

    with torch.no_grad():
        example = [torch.zeros(1, *shape, *_SIZE) for shape in _shapes(policy, 0).values()]
        memory = _Step(copy.deepcopy(policy), tuple(_shapes(policy, 0)))(*example)[1].shape[1]
    shapes = _shapes(policy, memory)
    without = {name: shape for name, shape in shapes.items() if name != "memory"}
    outputs = ["logits", "next_memory"]
    weights: dict[str, TensorProto] = {}
    branches, opset = [], None
    for name, known in (("begin", without), ("go_on", shapes)):
        model = _traced(_Step(copy.deepcopy(policy), tuple(known)), known, outputs)
        model = compose.add_prefix(model, f"{name}/", rename_inputs=False, rename_initializers=False)
        for weight in model.graph.initializer:
            if weights.setdefault(weight.name, weight).raw_data != weight.raw_data:
                raise RuntimeError(f"the two branches disagree about {weight.name}")
        # A branch has no inputs: it reads what the graph around it holds by the same names.
        del model.graph.input[:], model.graph.initializer[:]
        branches.append(model.graph)
        opset = model.opset_import
    begin, go_on = branches
    choice = helper.make_node("If", ["first"], outputs, then_branch=begin, else_branch=go_on)
    inputs = [_value(name, shape) for name, shape in shapes.items()]
    inputs.append(helper.make_tensor_value_info("first", TensorProto.BOOL, []))
    results = [_value("logits", (len(policy.actions),)), _value("next_memory", (memory,))]
    graph = helper.make_graph([choice], "step", inputs, results, list(weights.values()))
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _shapes(policy: PixelPolicy, memory: int) -> dict[str, tuple[int, ...]]:
    """Inputs in order, with what lies between batch and height; ``memory`` channels, 0 for no such input."""
    channels, planes = policy.actions.channels, policy.settings.condition
    shapes: dict[str, tuple[int, ...]] = {"image": (channels,)}
    if memory:
        shapes["memory"] = (memory,)
    if planes:
        shapes["condition"] = (planes,)
    if policy.settings.foresight and not isinstance(policy.net, DilatedNet):
        shapes["outcomes"] = (len(policy.actions), channels)
    return shapes


def _value(name: str, shape: tuple[int, ...]) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape, "height", "width"])


def _traced(module: nn.Module, shapes: dict[str, tuple[int, ...]], outputs: Sequence[str]) -> ModelProto:
    """``module`` as torch records it.

    With the exporter from before torch.export: it needs no further package, takes 2 s instead of 20, and follows odd
    sizes.
    """
    import onnx

    arguments = tuple(torch.rand(1, *shape, *_SIZE) for shape in shapes.values())
    free = {name: {0: "batch", 1 + len(shape): "height", 2 + len(shape): "width"} for name, shape in shapes.items()}
    free |= {name: {0: "batch", 2: "height", 3: "width"} for name in outputs}
    buffer = io.BytesIO()
    # With gradients on, the network changes no slice in place, which would become a slow scatter.
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # that this exporter is the old one, and that Python sees fixed shapes
        torch.onnx.export(
            module,
            arguments,
            buffer,  # type: ignore[arg-type]  # a stream is fine for this exporter
            input_names=list(shapes),
            output_names=list(outputs),
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())
