from __future__ import annotations

import pytest
import torch
from tests.predict.coco import coco_folder

from pixward.bench.predict import PredictBench, run_predict_bench, shortest, told, uniform, words
from pixward.data.synth import Scenes
from pixward.errors import PixwardError
from pixward.predict.colour import ColourTask
from pixward.predict.detect import DetectTask
from pixward.predict.folders import read_folder
from pixward.predict.task import new_policy
from pixward.predict.weights import save_policy
from pixward.types import Decoding

TASK = DetectTask(("circle", "square"), boxes=3, steps=8)


def weights(path, task=TASK, seed=0):
    torch.manual_seed(seed)
    save_policy(path, new_policy(task, width=16), task)
    return path


def test_the_empty_answer_is_empty():
    images = Scenes(seed=1).batch(range(2)).images
    said = shortest(TASK).sample(images, 1, Decoding(0))
    assert not bool(said.tokens.any())
    # Where an answer has a fixed length, it is the first token that may stand there.
    colours = ColourTask.of(Scenes(seed=0), 20)
    grey = images.mean(1, keepdim=True)
    assert bool((shortest(colours).sample(grey, 1, Decoding(0)).tokens == 1).all())


def test_random_answers_follow_the_grammar_and_nothing_else():
    images = Scenes(seed=1).batch(range(1)).images
    policy = uniform(TASK)
    tokens = policy.sample(images, 400, generator=torch.Generator().manual_seed(0)).tokens
    table = policy.log_prob(images, tokens).table[0, 0, 0].exp()
    allowed = TASK.kind.allowed(torch.zeros(1, 0, dtype=torch.long))[0]
    torch.testing.assert_close(table, allowed / allowed.sum())
    ended = (tokens[0, :, 0] == 0).float().mean()
    assert float(ended) == pytest.approx(1 / 10, abs=0.04)  # the end, or one of nine coordinates


def test_rows_of_all_policies_and_decodings(tmp_path):
    first, second = weights(tmp_path / "tuned.safetensors"), weights(tmp_path / "before.safetensors", seed=1)
    seen = []
    settings = PredictBench(first, (second,), (Decoding(0.5, 0.9),), count=3)
    result = run_predict_bench(settings, seen.append)
    names = [(row["name"], row["temperature"], row["top_p"]) for row in result["rows"]]
    assert names == [
        ("empty", 0, 1), ("random", 1, 1),
        ("before", 0, 1), ("before", 0.5, 0.9), ("tuned", 0, 1), ("tuned", 0.5, 0.9),
    ]  # fmt: skip
    assert seen == [f"{name}, {words(Decoding(warm, share))}" for name, warm, share in names]
    assert (result["task"], result["pictures"]) == ("detect", 3)
    empty = result["rows"][0]["figures"]
    assert empty["greedy_reward"] == empty["greedy_false_positives"] == 0
    assert result["rows"][1]["figures"]["greedy_false_positives"] > 0
    # As the task itself measures it.
    policy = new_policy(TASK, width=16)
    again = run_predict_bench(settings)
    assert [row["figures"] for row in again["rows"]] == [row["figures"] for row in result["rows"]]
    assert set(empty) == set(TASK.evaluate(policy, Scenes(split="held-out"), 1))


def test_tables_are_cut_to_a_few_columns(tmp_path):
    result = run_predict_bench(PredictBench(weights(tmp_path / "w.safetensors"), count=2))
    tables = told(result, columns=4)
    figures = list(result["rows"][0]["figures"])
    assert [name for table in tables for name in table[0][2:]] == figures
    assert all(len(row) == len(table[0]) for table in tables for row in table)
    assert [row[:2] for row in tables[0]] == [
        ["", "answer"], ["empty", "likeliest"], ["random", "temperature 1"], ["w", "likeliest"]
    ]  # fmt: skip


def test_weights_must_fit_each_other_and_the_data(tmp_path):
    first = weights(tmp_path / "a.safetensors")
    other = weights(tmp_path / "b.safetensors", DetectTask(("star", "square"), boxes=3, steps=8))
    with pytest.raises(PixwardError, match=r"b\.safetensors is for detect of star, square .*compare like"):
        run_predict_bench(PredictBench(first, (other,), count=1))
    data = read_folder("detect", coco_folder(tmp_path / "mini"))
    with pytest.raises(PixwardError, match="has no class cat"):
        run_predict_bench(PredictBench(first, data=data))
    fitting = weights(tmp_path / "c.safetensors", DetectTask(data.names, boxes=3, steps=8))
    assert run_predict_bench(PredictBench(fitting, data=data))["pictures"] == 1
