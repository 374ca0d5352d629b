"""The key of a study and the picks that people sent back: read, and held against each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixward.errors import PixwardError
from pixward.study.build import FORMAT


@dataclass(frozen=True)
class Key:
    """Which result is whose.

    Attributes:
        study: digest of the page that it belongs to.
        picks: how many results a person could pick in a question.
        methods: all of them, sorted.
        tasks: ``{question: name of its task}``.
        results: ``{question: {result: method}}``.
    """

    study: str
    picks: int
    methods: tuple[str, ...]
    tasks: dict[str, str]
    results: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Answer:
    """What one person said to one question, in methods' names.

    Attributes:
        question: its name in the study.
        shown: methods in the order in which they stood.
        picks: those picked; none where the person could not tell.
        seconds: how long the question was looked at.
    """

    question: str
    shown: tuple[str, ...]
    picks: frozenset[str]
    seconds: float


@dataclass(frozen=True)
class Person:
    """All answers of one participant, each question once; ``name`` is the random one of the page."""

    name: str
    answers: tuple[Answer, ...]


def read_key(path: Path) -> Key:
    """The key that was written beside the page.

    Raises:
        PixwardError: missing, or no such key.
    """
    try:
        data = _object(path, f"{FORMAT}-key")
        questions = data["questions"]
        return Key(
            str(data["study"]),
            int(data["picks"]),
            tuple(data["methods"]),
            {entry["id"]: str(entry["task"]) for entry in questions},
            {entry["id"]: dict(entry["results"]) for entry in questions},
        )
    except (_Fault, KeyError, TypeError, ValueError) as error:
        raise PixwardError(f"{path} is no key of a study ({error}): name the study.key.json of its page") from None


def read_picks(paths: Sequence[Path], key: Key) -> tuple[list[Person], list[str]]:
    """The people whose picks fit the key, in the order of ``paths``, and a line for each file that is left out.

    Left out are files that cannot be read or are cut short, picks of another study, a participant who came before,
    and picks that the page cannot have made.
    """
    people: list[Person] = []
    faults: list[str] = []
    came: dict[str, Path] = {}
    for path in paths:
        try:
            person = _person(_object(path, f"{FORMAT}-picks"), key)
            if person.name in came:
                raise _Fault(f"the participant of {came[person.name]} again")
        except _Fault as fault:
            faults.append(f"{path} left out: {fault}")
            continue
        came[person.name] = path
        people.append(person)
    return people, faults


class _Fault(Exception):
    """Why a file does not count."""


def _object(path: Path, kind: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _Fault((error.strerror or str(error)).lower()) from None
    except ValueError:
        raise _Fault("no JSON, or cut short") from None
    if not isinstance(data, dict) or data.get("format") != kind:
        raise _Fault(f"JSON, but not of the kind {kind}")
    if data.get("version") != 1:
        raise _Fault(f"version {data.get('version')}, and this pixward knows version 1")
    return data


def _person(data: dict[str, Any], key: Key) -> Person:
    if data.get("study") != key.study:
        raise _Fault(f"picks of another study ({data.get('study')}, the key is for {key.study})")
    name, entries = data.get("participant"), data.get("answers")
    if not isinstance(name, str) or not name or not isinstance(entries, list):
        raise _Fault("no participant or no list of answers")
    answers = tuple(_answer(entry, key) for entry in entries)
    if len({answer.question for answer in answers}) < len(answers):
        raise _Fault("a question answered twice")
    if not answers:
        raise _Fault("no answers in it")
    return Person(name, answers)


def _answer(entry: Any, key: Key) -> Answer:
    try:
        question, shown, picks = entry["question"], list(entry["shown"]), list(entry["picks"])
        seconds = max(0.0, float(entry.get("seconds", 0)))
        owners = key.results[question]
        if sorted(shown) != sorted(owners):
            raise _Fault(f"question {question} shows other results than the page does")
        if len(set(picks)) < len(picks) or not set(picks) <= set(shown) or len(picks) > key.picks:
            raise _Fault(f"question {question} has picks that the page does not allow")
        return Answer(
            question, tuple(owners[name] for name in shown), frozenset(owners[name] for name in picks), seconds
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _Fault("answers that the page cannot have written") from None
