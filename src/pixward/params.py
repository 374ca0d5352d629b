"""Sliders, described once.

A :class:`ParamSpec` names one slider; a :class:`ParamSpace` is the ordered list of an editor's sliders. The size of a
policy, the clamping of its actions, setting files, the command line's help and the web page's controls all come
from here. Policies and solvers work on *normalised* values in [-1, 1]; editors and files use the slider's own unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class ParamSpec:
    """One slider.

    Attributes:
        name: a lower-case identifier, unique in its space.
        low: smallest value, in ``unit``.
        high: largest value.
        default: where the slider stands when nobody has touched it.
        unit: what the number counts ("EV", "%", "x" for a factor).
        help: one sentence for a person.
        scale: how [-1, 1] maps to [low, high]: ``linear``, or ``log`` for factors (equal steps are equal ratios).
    """

    name: str
    low: float
    high: float
    default: float
    unit: str
    help: str
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not finite or not self.low <= self.default <= self.high or self.low == self.high:
            raise ValueError(f"slider {self.name}: need finite low <= default <= high and low < high")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"slider {self.name}: a log scale needs low > 0")


class ParamSpace:
    """An ordered list of sliders.

    >>> space = ParamSpace([ParamSpec("exposure", -2, 2, 0, "EV", "Brightness of the whole picture.")])
    >>> space.denormalize(torch.tensor([[0.5]]))
    tensor([[1.]])
    """

    def __init__(self, specs: Sequence[ParamSpec]) -> None:
        names = [spec.name for spec in specs]
        if len(set(names)) != len(names):
            raise ValueError("slider names must be unique")
        self.specs = tuple(specs)
        self.names = tuple(names)
        # A log slider is linear in its logarithm, so both kinds share one affine map.
        self._log = torch.tensor([spec.scale == "log" for spec in specs])
        low = torch.tensor([_inner(spec, spec.low) for spec in specs])
        high = torch.tensor([_inner(spec, spec.high) for spec in specs])
        self._centre, self._half = (low + high) / 2, (high - low) / 2
        self._low = torch.tensor([float(spec.low) for spec in specs])
        self._high = torch.tensor([float(spec.high) for spec in specs])
        self._default = torch.tensor([float(spec.default) for spec in specs])

    def __len__(self) -> int:
        return len(self.specs)

    def __iter__(self) -> Iterator[ParamSpec]:
        return iter(self.specs)

    def __repr__(self) -> str:
        return f"ParamSpace({', '.join(self.names)})"

    def defaults(self, batch: int = 1, *, device: torch.device | str = "cpu") -> Tensor:
        """The untouched sliders, ``(batch, d)``, in slider units."""
        return self._default.to(device).expand(batch, -1).clone()

    def default_action(self, batch: int = 1, *, device: torch.device | str = "cpu") -> Tensor:
        """The untouched sliders, ``(batch, d)``, normalised to [-1, 1]."""
        return self.normalize(self.defaults(batch, device=device))

    def normalize(self, values: Tensor) -> Tensor:
        """Slider units ``(..., d)`` to [-1, 1]."""
        log = self._log.to(values.device)
        inner = torch.where(log, values.masked_fill(~log, 1).clamp_min(1e-12).log(), values)
        return (inner - self._centre.to(values)) / self._half.to(values)

    def denormalize(self, action: Tensor) -> Tensor:
        """Normalised ``(..., d)`` to slider units; values outside [-1, 1] are clamped to the slider's range."""
        inner = self._centre.to(action) + self._half.to(action) * action
        log = self._log.to(action.device)
        # The branch not taken must stay finite too, or its gradient is infinity times zero.
        values = torch.where(log, inner.masked_fill(~log, 0).exp(), inner)
        return torch.minimum(torch.maximum(values, self._low.to(action)), self._high.to(action))

    def to_dict(self, values: Tensor) -> dict[str, float]:
        """One row of slider values ``(d,)`` as ``{name: value}``, rounded to six digits as files and people want."""
        return {name: round(float(v), 6) for name, v in zip(self.names, values.flatten(), strict=True)}

    def from_dict(self, setting: Mapping[str, float]) -> Tensor:
        """``{name: value}`` to a row ``(d,)``; missing sliders take their default.

        Raises:
            ValueError: an unknown slider, a value that is no number or lies outside its range.
        """
        row = self._default.clone()
        for name, value in setting.items():
            row[self.index(name)] = self.check(name, value)
        return row

    def index(self, name: str) -> int:
        """Position of a slider; ValueError with the known names if there is none of that name."""
        if name not in self.names:
            raise ValueError(f"unknown slider {name!r}; this editor has: {', '.join(self.names)}")
        return self.names.index(name)

    def check(self, name: str, value: object) -> float:
        """``value`` as a float if slider ``name`` can take it, else ValueError."""
        spec = self.specs[self.index(name)]
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"slider {name}: {value!r} is not a number")
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"slider {name}: {value!r} is not a number") from None
        # Setting files hold six digits, so a value on the rim may stand 5e-7 outside it.
        slack = 1e-6
        if not math.isfinite(number) or not spec.low - slack <= number <= spec.high + slack:
            raise ValueError(f"slider {name}: {number:g} is outside {spec.low:g} to {spec.high:g} {spec.unit}".rstrip())
        return min(max(number, spec.low), spec.high)

    def describe(self) -> list[dict[str, object]]:
        """The sliders as plain data, as ``pixward sliders --json`` prints them."""
        keep = ("name", "low", "high", "default", "unit", "help")
        return [{key: value for key, value in asdict(spec).items() if key in keep} for spec in self.specs]


def _inner(spec: ParamSpec, value: float) -> float:
    return math.log(value) if spec.scale == "log" else float(value)
