"""The default strategy: the policy guesses, a learnt response polishes the guess, least squares finishes.

1. The policy looks at photo and goal and sets every slider.
2. With a response of the editor at hand that guess is walked to where the response comes nearest the goal, which costs
   no render, and the result is the first render. Without one the policy's own setting is.
   Sliders that the response does not know are measured there by finite differences.
3. Every render corrects the model; the next is where the corrected model comes nearest the goal. While that gains, no
   render is spent on anything else.
4. After two weak steps the policy is asked again. If that is weak too, the response is searched for another valley,
   and the walk starts anew there.
5. Then the slopes are measured by finite differences, on top of all that is known, and least squares goes on.
6. With renders left over and something left to gain, all of this again from a setting nearby.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.policies.goal import Deciding
from pixward.policies.response import Responding
from pixward.search.follow import decide, first_look, look
from pixward.search.least_squares import STEP, Hint, at_floor, refine, walk
from pixward.search.model import EditorModel, propose
from pixward.search.problem import Problem, Solver

ROUNDS = 3
"""Gauss-Newton steps on the response per render."""
PATIENCE = 3
"""Weak steps in a row that end a walk on the response; the last of them is the policy's."""
GOOD = 1e-5
"""Below this error (50 dB) a walk has found the right valley."""
RESTARTS = 4
"""Restarts in a row that gain less than 1 % end the search: the sliders reach no further."""
VALLEYS, SCOUTS, CLEARLY = 3, 6, 0.8
"""Valleys tried before slopes are measured, starts of each look-out, and how much better its find must be."""
TIRED = 0.5
"""The policy has said what it knows when its next render gains less than this, in dB."""


def hybrid(policy: Deciding | None, response: Responding | None) -> Solver:
    """The solver for an editor with these networks; either may be missing. It moves them to the problem's device."""

    def solve(problem: Problem, seed: int) -> None:
        for network in (policy, response):
            if network is not None:
                network.to(problem.source.device)
        generator = torch.Generator().manual_seed(seed)
        hint = _ask(problem, policy) if policy else None
        start, walked = _guess(problem, policy, response), list[EditorModel]()
        reached, fruitless = float("inf"), 0
        # Sliders that the response knows nothing of are measured at once: it would leave them where they are.
        known = len(problem.space) - (response.unknown if response is not None else 0)
        unknown = [place for place, slider in enumerate(problem.free) if slider >= known]
        while True:
            model = EditorModel(problem, response)
            model.learn(start, problem.render(start[None]), move=True)
            if unknown:
                model.measure(STEP, unknown)
            walked.append(model)
            if response is not None:
                walk(problem, model, rounds=ROUNDS, patience=PATIENCE, hint=hint)
                other = _scout(walked, response, generator)
                if other is not None:
                    start = other
                    continue
            best = min(walked, key=EditorModel.error)
            refine(problem, best, ROUNDS if response else 1)
            fruitless = fruitless + 1 if best.error() > 0.99 * reached else 0
            if at_floor(problem) or fruitless == RESTARTS:
                return
            start, walked, reached = _nearby(best, generator), [best], best.error()

    return solve


def _guess(problem: Problem, policy: Deciding | None, response: Responding | None) -> Tensor:
    """The policy's setting ``(dim,)``; with no response its own renders improve it until they gain too little."""
    if policy is None:
        return _polish(problem, response, problem.start)
    state = first_look(problem, policy)
    if response is not None:
        return _polish(problem, response, decide(policy, state, problem)[0, problem.free])
    error = problem.source_mse
    for _ in range(policy.settings.horizon - 1):
        action = decide(policy, state, problem)
        state = look(state, action, problem.render(action[:, problem.free]))
        new = problem.trials[-1].mse
        if new > error * 10 ** (-TIRED / 10):
            break
        error = new
    return decide(policy, state, problem)[0, problem.free]


def _ask(problem: Problem, policy: Deciding) -> Hint:
    """The policy's opinion on a render that the model is stuck at; it looks as if it had just arrived there."""

    def hint(setting: Tensor, image: Tensor) -> Tensor:
        state = first_look(problem, policy)
        state = look(state, problem.fill(setting[None]), image)
        return decide(policy, state, problem)[0, problem.free]

    return hint


def _polish(problem: Problem, response: Responding | None, start: Tensor, rounds: int = 3 * ROUNDS) -> Tensor:
    """Walk ``start`` to where the response alone comes nearest the goal; no render."""
    if response is None:
        return start
    return propose(EditorModel(problem, response), start, damping=1e-4, rounds=rounds)


def _scout(walked: list[EditorModel], response: Responding, generator: torch.Generator) -> Tensor | None:
    """Another place that the response likes clearly better than where the walks have ended; None if there is none.

    Tone sliders can stand in for each other, so the error has several valleys, and least squares stays in the one it
    starts in. The response is too rough to rank points within a valley but tells valleys apart, for no render.
    """
    best = min(walked, key=EditorModel.error)
    if best.error() < GOOD or len(walked) > VALLEYS:
        return None
    problem, alone = best.problem, EditorModel(best.problem, response)
    limit = CLEARLY * min(alone.error(alone.predict(model.anchor)) for model in walked)
    found = None
    for _ in range(SCOUTS):
        start = (torch.rand(problem.dim, generator=generator) * 2 - 1).to(problem.goal)
        place = _polish(problem, response, start, rounds=2 * ROUNDS)
        error = alone.error(alone.predict(place))
        far = all(float((place - model.anchor).abs().max()) > 0.2 for model in walked)
        if far and error < limit:
            found, limit = place, error
    return found


def _nearby(model: EditorModel, generator: torch.Generator) -> Tensor:
    """A random setting around the model's anchor, to start anew from."""
    here = model.anchor
    return (here + 0.3 * torch.randn(len(here), generator=generator).to(here)).clamp(-1, 1)
