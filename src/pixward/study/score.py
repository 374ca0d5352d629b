"""Picks counted: votes, shares with intervals over people, the winner against the runner-up, and what position did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixward.bench.stats import interval, paired_interval
from pixward.errors import PixwardError
from pixward.study.picks import Answer, Key, Person

_DIGITS = 4


def score(people: Sequence[Person], key: Key) -> dict[str, object]:
    """All figures of a study as one JSON object.

    A method's *share* is how often a person picked it, of the questions that the person answered, and then the mean
    over people, so that everyone counts the same. Its interval is the 95 % percentile bootstrap over people (Efron
    1979); None for one person. ``first`` compares the two methods with the largest shares: the difference with its
    paired interval, and the two-sided sign test over people (Dixon, Mood 1946), exact, people with as many picks for
    either left out. ``position`` is Cochran's Q (1950) over places, each answer a block: a small p says that people
    picked by place. ``methods`` are sorted by share, ``questions`` by name.

    Raises:
        PixwardError: nobody.
    """
    if not people:
        raise PixwardError("there are no picks to count: give at least one file that fits the key")
    rates = {method: [_rate(person, method) for person in people] for method in key.methods}
    order = sorted(key.methods, key=lambda method: (-float(np.mean(rates[method])), method))
    answers = [answer for person in people for answer in person.answers]
    votes = sum(len(answer.picks) for answer in answers)
    return {
        "study": key.study,
        "people": len(people),
        "answers": len(answers),
        "incomplete": sum(len(person.answers) < len(key.tasks) for person in people),
        "cannot_tell": sum(not answer.picks for answer in answers),
        "picks_allowed": key.picks,
        "votes": votes,
        "seconds_median": round(float(np.median([answer.seconds for answer in answers])), 1),
        "methods": [_method(method, rates[method], answers, votes) for method in order],
        "first": _first(order[0], order[1], rates),
        "position": position([_places(answer) for answer in answers]),
        "questions": [_question(question, key, answers) for question in sorted(key.tasks)],
    }


def _rate(person: Person, method: str) -> float:
    return sum(method in answer.picks for answer in person.answers) / len(person.answers)


def _method(method: str, rates: list[float], answers: Sequence[Answer], votes: int) -> dict[str, object]:
    own = sum(method in answer.picks for answer in answers)
    low, high = interval(rates) if len(rates) > 1 else (None, None)
    return {
        "method": method,
        "votes": own,
        "of_votes": _round(own / votes) if votes else 0.0,
        "share": _round(float(np.mean(rates))),
        "low": _round(low),
        "high": _round(high),
    }


def _first(winner: str, second: str, rates: dict[str, list[float]]) -> dict[str, object]:
    ahead = np.asarray(rates[winner]) - np.asarray(rates[second])
    low, high = paired_interval(rates[winner], rates[second]) if len(ahead) > 1 else (None, None)
    better, worse = int((ahead > 1e-9).sum()), int((ahead < -1e-9).sum())
    return {
        "winner": winner,
        "second": second,
        "difference": _round(float(ahead.mean())),
        "low": _round(low),
        "high": _round(high),
        "people_for_winner": better,
        "people_for_second": worse,
        "people_for_neither": len(ahead) - better - worse,
        "test": "two-sided sign test over people",
        "p": _round(sign_test(better, worse)),
    }


def sign_test(better: int, worse: int) -> float:
    """The exact two-sided sign test: how likely as uneven a count is if either is as likely; 1 for no people."""
    from scipy.stats import binomtest

    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def position(picked: Sequence[Sequence[bool]]) -> dict[str, object]:
    """Whether picks depend on the place where a result stood.

    Cochran's Q (1950): with ``k`` places, ``C`` picks of each and ``R`` picks in each answer,
    ``Q = (k - 1) (k sum(C^2) - sum(C)^2) / (k sum(R) - sum(R^2))``, chi-squared with ``k - 1`` degrees.

    Args:
        picked: for each answer, whether the result at each place was picked; answers of one length.
    """
    from scipy.stats import chi2

    table: NDArray[np.int64] = np.asarray(picked, dtype=np.int64)
    places = table.shape[1]
    columns, rows = table.sum(0), table.sum(1)
    below = float(places * rows.sum() - (rows**2).sum())
    q = (places - 1) * float(places * (columns**2).sum() - columns.sum() ** 2) / below if below else 0.0
    return {
        "picks": columns.tolist(),
        "test": "Cochran's Q over places",
        "q": _round(q),
        "p": _round(float(chi2.sf(q, places - 1))),
    }


def _places(answer: Answer) -> list[bool]:
    return [method in answer.picks for method in answer.shown]


def _question(question: str, key: Key, answers: Sequence[Answer]) -> dict[str, object]:
    own = [answer for answer in answers if answer.question == question]
    votes = {method: sum(method in answer.picks for answer in own) for method in key.methods}
    return {"question": question, "task": key.tasks[question], "answers": len(own), "votes": votes}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS) + 0.0
