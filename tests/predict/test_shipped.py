"""The weights that come with pixward do what docs/results/predict.md says, within what fifty scenes can tell."""

from __future__ import annotations

from pathlib import Path

from pixward.commands.predict_weights import predictor, shipped
from pixward.data.synth import Scenes
from pixward.image import load, to_tensor

SCENES = Path(__file__).resolve().parents[2] / "examples" / "scenes"
HELD_OUT = Scenes(seed=0, split="held-out")


def test_boxes() -> None:
    policy, task, _ = predictor(None, "detect")
    figures = task.evaluate(policy, HELD_OUT, 50)
    # An empty answer has 0, a random one 0.00003.
    assert figures["ap_confidence"] > 0.2 and figures["ap50_confidence"] > 0.3
    # The confidence tells good boxes from bad ones.
    assert figures["ap_confidence"] > figures["ap_none"] + 0.03


def test_captions() -> None:
    policy, task, _ = predictor(None, "caption")
    figures = task.evaluate(policy, HELD_OUT, 50)
    assert figures["cider_d"] > 0.7 and figures["repeated_words"] < 0.3


def test_every_name_shows_an_example() -> None:
    picture = to_tensor(load(SCENES / "scene-1.png").pixels)[0]
    assert {"detect", "caption"} <= set(shipped())
    for name in shipped():
        policy, task, _ = predictor(None, name)
        shown = task.show(policy, picture)
        assert task.name == name and shown.said["task"] == name and shown.picture.shape[1] >= 64
