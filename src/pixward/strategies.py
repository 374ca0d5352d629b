"""Strategies by name: the solver for an editor, with the networks that know it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError
from pixward.search.problem import Solver
from pixward.types import Editor

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.policies.goal import Deciding
    from pixward.policies.response import Responding


def build(strategy: str, editor: Editor, networks: Path | None = None) -> Solver:
    """The solver called ``strategy`` for ``editor``, with its shipped networks or those in the folder ``networks``.

    Raises:
        PixwardError: an unknown strategy, or one that cannot serve this editor; networks that do not fit.
    """
    if strategy not in STRATEGIES:
        raise PixwardError(f"unknown strategy {strategy!r}; choose from: {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy](editor, networks)


def build_look(strategy: str, editor: Editor, networks: Path | None = None) -> Solver:
    """The same for a :class:`Look`, whose networks are others; see :func:`build`.

    ``policy`` and ``hybrid`` are one here: the policy looks, renders and looks again, and its last word is the answer.
    Without a policy for this editor ``hybrid`` is ``least-squares`` on the numbers that tell a look.
    """
    from pixward.search.follow import settle

    if strategy not in ("policy", "hybrid"):
        if strategy == "gradient":
            raise PixwardError("strategy gradient needs a goal that shows the photo itself: use hybrid for a look")
        return build(strategy, editor, networks)
    policy = load_look_policy(editor, networks)
    if policy is not None:
        return settle(policy)
    if strategy == "policy":
        raise PixwardError(
            f"no policy for looks is shipped for {editor.name}: use --strategy hybrid, "
            "or train one (pixward train edit --algorithm look) and name its folder with --networks"
        )
    return _least_squares(editor)


def _policy(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.follow import follow

    policy, _ = load_networks(editor, networks)
    if policy is None:
        raise PixwardError(
            f"no policy is shipped for {editor.name}: use --strategy least-squares, "
            "or train one (pixward train edit) and name its folder with --networks"
        )
    return follow(policy)


def _hybrid(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.hybrid import hybrid

    policy, response = load_networks(editor, networks)
    if policy is None and response is None:
        return _least_squares(editor)  # No network knows this editor: hybrid's second half works alone.
    return hybrid(policy, response)


def load_networks(editor: Editor, folder: Path | None = None) -> tuple[Deciding | None, Responding | None]:
    """The policy and the response for ``editor``: those in a run ``folder`` of ``pixward train edit``, or the shipped.

    An editor without a policy or response of its own, but with a calibrated map to ``chain:photo``, gets the chain's
    through the map. Raw files (``NAME:raw``) get the networks of pictures where there are no others: the editor's
    sliders do to its own render of a raw file much what they do to a picture. Further sliders, which come last, are
    left alone by networks that do not know them.

    Raises:
        PixwardError: the folder holds neither, or networks for another number of sliders.
    """
    from pixward.policies.goal import load_policy
    from pixward.policies.mapped import MappedPolicy, MappedResponse, load_map
    from pixward.policies.padded import PaddedPolicy, PaddedResponse
    from pixward.policies.response import load_response
    from pixward.policies.weights import find_weights

    def where(kind: str) -> str:
        if folder is not None:
            return str(folder / f"{kind}.safetensors")
        return editor.name if find_weights(editor.name, kind) else editor.name.removesuffix(":raw")

    try:
        found = {kind: find_weights(where(kind), kind) for kind in ("policy", "response", "map")}
        policy: Deciding | None = load_policy(where("policy")) if found["policy"] else None
        response: Responding | None = load_response(where("response")) if found["response"] else None
        if found["map"] and (policy is None or response is None):
            slider_map = load_map(where("map"))
            policy = policy or MappedPolicy(load_policy("chain:photo"), slider_map)
            response = response or MappedResponse(slider_map)
    except ValueError as error:
        raise PixwardError(str(error)) from None
    if folder is not None and policy is None and response is None:
        raise PixwardError(f"{folder} holds no policy.safetensors or response.safetensors: name a run folder")
    if policy is not None and (rest := _unknown(policy.settings.sliders, editor)) is not None:
        policy = PaddedPolicy(policy, rest)
    if response is not None and (rest := _unknown(response.settings.sliders, editor)) is not None:
        response = PaddedResponse(response, rest)
    return policy, response


def load_look_policy(editor: Editor, folder: Path | None = None) -> Deciding | None:
    """The policy for looks: that in a run ``folder``, the shipped one, or the chain's through a map; see above.

    Raises:
        PixwardError: the folder holds none, or one for another number of sliders.
    """
    from pixward.policies.look import load_look
    from pixward.policies.mapped import MappedPolicy, load_map
    from pixward.policies.padded import PaddedPolicy
    from pixward.policies.weights import find_weights

    name = editor.name.removesuffix(":raw")
    found = load_look(editor.name if folder is None else folder)
    policy: Deciding | None = found
    if found is None and find_weights(name, "map") and (chain := load_look("chain:photo")) is not None:
        policy = MappedPolicy(chain, load_map(name))
    if policy is not None and (rest := _unknown(policy.settings.sliders, editor)) is not None:
        policy = PaddedPolicy(policy, rest)
    return policy


def _unknown(known: int, editor: Editor) -> Tensor | None:
    """Where the last sliders stay that a network of ``known`` sliders does not know; None if it knows all.

    Raises:
        PixwardError: the network is another editor's.
    """
    there = len(editor.space)
    may_lack = editor.name.endswith(":raw") or any("." in name for name in editor.space.names)
    if known > there or (known < there and not may_lack):
        raise PixwardError(
            f"the networks know {known} sliders, and {editor.name} has {there}: train networks for this editor"
        )
    return editor.space.default_action()[0, known:] if known < there else None


def _least_squares(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.least_squares import least_squares

    return least_squares


def _cmaes(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.cmaes import cmaes

    return cmaes


def _greedy(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.greedy import greedy

    return greedy


def _random(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.random import random_search

    return random_search


def _gradient(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.gradient import gradient

    if not editor.differentiable:
        raise PixwardError(f"strategy gradient needs an editor with gradients, and {editor.name} has none: use hybrid")
    return gradient


def _monolithic(editor: Editor, networks: Path | None = None) -> Solver:
    return _proxy("monolithic", editor, networks)


def _cascaded(editor: Editor, networks: Path | None = None) -> Solver:
    return _proxy("cascaded", editor, networks)


def _proxy(kind: str, editor: Editor, networks: Path | None) -> Solver:
    from pixward.policies.proxy import find_proxy
    from pixward.search.proxy import proxy_search

    return proxy_search(find_proxy(kind, editor.name, len(editor.space), networks))


STRATEGIES: dict[str, Callable[..., Solver]] = {
    "hybrid": _hybrid,
    "policy": _policy,
    "least-squares": _least_squares,
    "cmaes": _cmaes,
    "greedy": _greedy,
    "random": _random,
    "gradient": _gradient,
    "monolithic": _monolithic,
    "cascaded": _cascaded,
}
"""Names of the strategies, and what builds the solver: ``(editor, folder of networks or None)``."""
