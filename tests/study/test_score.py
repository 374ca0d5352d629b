"""Counting, on made-up people: figures by hand, by SciPy and by simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from tests.study.studies import METHODS, picks_file, study_folder

from pixward.errors import PixwardError
from pixward.study import build, read_key, read_picks, read_tasks, score
from pixward.study.score import position, sign_test

GOOD, FAIR, BAD = METHODS


@pytest.fixture
def key_data(tmp_path):
    data = build(read_tasks(study_folder(tmp_path / "tasks", tasks=4))).key
    (tmp_path / "study.key.json").write_text(json.dumps(data))
    return data


@pytest.fixture
def key(tmp_path, key_data):
    return read_key(tmp_path / "study.key.json")


def test_votes_by_hand(tmp_path, key_data, key):
    paths = [
        picks_file(tmp_path / "a.json", key_data, "a", lambda number: {GOOD, FAIR}),
        picks_file(tmp_path / "b.json", key_data, "b", lambda number: {GOOD} if number else set()),
        picks_file(tmp_path / "c.json", key_data, "c", lambda number: {BAD} if number == 3 else {GOOD}),
    ]
    people, faults = read_picks(paths, key)
    assert faults == [] and [person.name for person in people] == ["a", "b", "c"]
    found = score(people, key)
    rows = {row["method"]: row for row in found["methods"]}
    assert [row["method"] for row in found["methods"]] == [GOOD, FAIR, BAD]
    assert [rows[method]["votes"] for method in METHODS] == [10, 4, 1]
    assert rows[GOOD]["share"] == round((1 + 0.75 + 0.75) / 3, 4) and rows[GOOD]["of_votes"] == round(10 / 15, 4)
    assert (found["people"], found["answers"], found["votes"], found["cannot_tell"]) == (3, 12, 15, 1)
    assert found["incomplete"] == 0 and found["seconds_median"] == 3.5
    assert found["first"]["winner"] == GOOD and found["first"]["second"] == FAIR
    assert [found["first"][f"people_for_{who}"] for who in ("winner", "second", "neither")] == [2, 0, 1]
    assert found["first"]["p"] == 0.5  # both of two: 2 * (1/2)^2
    assert [row["votes"][BAD] for row in found["questions"]] == [0, 0, 0, 1]
    assert [row["task"] for row in found["questions"]] == [f"very-secret-task-{k}" for k in range(4)]


def test_everyone_counts_the_same_however_much_they_answered(tmp_path, key_data, key):
    short = picks_file(tmp_path / "short.json", key_data, "short", lambda number: {BAD})
    data = json.loads(short.read_text())
    data["answers"] = data["answers"][:1]
    short.write_text(json.dumps(data))
    full = picks_file(tmp_path / "full.json", key_data, "full", lambda number: {GOOD})
    found = score(read_picks([short, full], key)[0], key)
    rows = {row["method"]: row for row in found["methods"]}
    assert rows[BAD]["share"] == rows[GOOD]["share"] == 0.5
    assert (rows[BAD]["votes"], rows[GOOD]["votes"], found["incomplete"]) == (1, 4, 1)


def test_intervals_are_the_bootstrap_over_people(tmp_path, key_data, key):
    rng = np.random.default_rng(0)
    chosen = rng.random((24, 4)) < rng.random((24, 1))
    paths = [
        picks_file(
            tmp_path / "p" / f"{k}.json", key_data, f"{k}", lambda number, k=k: {GOOD} if chosen[k, number] else {BAD}
        )
        for k in range(24)
    ]
    row = next(row for row in score(read_picks(paths, key)[0], key)["methods"] if row["method"] == GOOD)
    reference = scipy.stats.bootstrap(
        (chosen.mean(1),), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert row["low"] == pytest.approx(reference.low, abs=0.02)
    assert row["high"] == pytest.approx(reference.high, abs=0.02)
    # Answers of one person go together: an interval that took each for itself would be too narrow.
    naive = 1.96 * np.sqrt(chosen.mean() * (1 - chosen.mean()) / chosen.size)
    assert row["high"] - row["low"] > 2.4 * naive


def test_one_person_has_no_interval(tmp_path, key_data, key):
    path = picks_file(tmp_path / "a.json", key_data, "a", lambda number: {GOOD})
    found = score(read_picks([path], key)[0], key)
    assert found["methods"][0]["low"] is None and found["first"]["low"] is None
    json.dumps(found, allow_nan=False)


def test_a_sign_test_by_hand():
    assert sign_test(5, 0) == pytest.approx(2 / 32)
    assert sign_test(0, 0) == 1 and sign_test(3, 3) == 1
    assert sign_test(9, 1) == pytest.approx(2 * (10 + 1) / 1024)


def test_with_one_pick_position_is_the_chi_squared_test():
    rng = np.random.default_rng(2)
    places = rng.choice(4, 200, p=[0.4, 0.2, 0.2, 0.2])
    reference = scipy.stats.chisquare(np.bincount(places, minlength=4))
    found = position(np.eye(4, dtype=bool)[places].tolist())
    assert found["q"] == pytest.approx(reference.statistic, abs=1e-4)
    assert found["p"] == pytest.approx(reference.pvalue, abs=1e-4)
    assert found["picks"] == np.bincount(places, minlength=4).tolist()


def test_without_a_bias_p_is_as_small_as_it_says_and_with_one_it_is_small():
    rng = np.random.default_rng(3)

    def answers(weights):
        table = np.zeros((80, 5), bool)
        for row in table:
            row[rng.choice(5, rng.integers(0, 3), replace=False, p=np.array(weights) / sum(weights))] = True
        return table.tolist()

    fair = [position(answers([1, 1, 1, 1, 1]))["p"] for _ in range(400)]
    assert np.mean(np.array(fair) < 0.05) == pytest.approx(0.05, abs=0.025)
    assert np.mean(np.array(fair) < 0.5) == pytest.approx(0.5, abs=0.07)
    assert position(answers([4, 1, 1, 1, 1]))["p"] < 0.001
    assert position([[False] * 5] * 3)["p"] == 1


def test_nobody_to_count(key):
    with pytest.raises(PixwardError, match="there are no picks to count"):
        score([], key)


# --- files that do not count ------------------------------------------------------------------------------------


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_faults_are_named_and_the_rest_counts(tmp_path, key_data, key):
    def person(name):
        return picks_file(tmp_path / f"{name}.json", key_data, name, lambda number: {GOOD})

    good, torn, other, again = (person(name) for name in ("good", "torn", "other", "again"))
    torn.write_text(torn.read_text()[:200])
    change(other, study="0123456789abcdef")
    change(again, participant="good")
    strange = tmp_path / "strange.json"
    strange.write_text('{"format": "holiday"}')
    later = change(person("later"), version=2)
    empty = change(person("empty"), answers=[])
    paths = [good, torn, other, again, strange, tmp_path / "nowhere.json", later, empty]
    people, faults = read_picks(paths, key)
    assert [person.name for person in people] == ["good"]
    expected = [
        "torn.json left out: no JSON, or cut short",
        f"other.json left out: picks of another study (0123456789abcdef, the key is for {key.study})",
        f"again.json left out: the participant of {good} again",
        "strange.json left out: JSON, but not of the kind pixward-study-picks",
        "nowhere.json left out: no such file or directory",
        "later.json left out: version 2, and this pixward knows version 1",
        "empty.json left out: no answers in it",
    ]
    for fault, end in zip(faults, expected, strict=True):
        assert fault.endswith(end), fault


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda answer: answer.update(question="q99"), "cannot have written"),
        (lambda answer: answer.pop("shown"), "cannot have written"),
        (lambda answer: answer.update(picks=3), "cannot have written"),
        (lambda answer: answer.update(seconds="x"), "cannot have written"),
        (lambda answer: answer["shown"].pop(), "shows other results than the page does"),
        (lambda answer: answer.update(picks=["0" * 16]), "picks that the page does not allow"),
        (lambda answer: answer.update(picks=answer["shown"]), "picks that the page does not allow"),
        (lambda answer: answer.update(picks=answer["shown"][:1] * 2), "picks that the page does not allow"),
        (lambda answer: answer.update(question="q02"), "shows other results"),
    ],
)
def test_answers_that_no_page_wrote(tmp_path, key_data, key, spoil, message):
    path = picks_file(tmp_path / "a.json", key_data, "a", lambda number: {GOOD})
    data = json.loads(path.read_text())
    spoil(data["answers"][0])
    path.write_text(json.dumps(data))
    people, faults = read_picks([path], key)
    assert people == [] and message in faults[0]


def test_a_question_answered_twice(tmp_path, key_data, key):
    path = picks_file(tmp_path / "a.json", key_data, "a", lambda number: {GOOD})
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "answers": data["answers"] + data["answers"][:1]}))
    assert "a question answered twice" in read_picks([path], key)[1][0]


@pytest.mark.parametrize("content", ["", "[]", '{"format": "pixward-study-key", "version": 1}', '{"format": "x"}'])
def test_keys_that_are_none(tmp_path, content):
    path = tmp_path / "study.key.json"
    path.write_text(content)
    with pytest.raises(PixwardError, match="is no key of a study"):
        read_key(path)
