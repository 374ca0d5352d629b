from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from pixward.data import emoji as module
from pixward.data.emoji import ANIMALS, ENVIRONMENT, emoji_names, emoji_world, find_font
from pixward.data.worlds import GROUNDS, Prompt, WorldSettings, read_prompts
from pixward.errors import PixwardError

# The 45 prompts of DDPO's aesthetic reward (its list of simple animals).
DDPO = re.findall(
    r"\w+",
    "cat dog horse monkey rabbit zebra spider bird sheep deer cow goat lion tiger bear raccoon fox wolf lizard beetle "
    "ant butterfly fish shark whale dolphin squirrel mouse rat snake turtle frog chicken duck goose bee pig turkey fly "
    "llama camel bat gorilla hedgehog kangaroo",
)


@pytest.fixture(scope="module")
def font() -> Path:
    try:
        return find_font()
    except PixwardError as error:
        pytest.skip(str(error))


def test_42_of_ddpos_45_animals_by_their_unicode_names():
    assert len(DDPO) == len(set(DDPO)) == 45
    assert set(DDPO) - set(ANIMALS) == {"squirrel", "goose", "bee"} and len(ANIMALS) == 42
    for name, drawn in ANIMALS.items():
        said = unicodedata.name(drawn).lower()
        assert said in (name, f"{name} face", f"dromedary {name}")
    assert len(set(ANIMALS.values())) == 42


def test_a_missing_font_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(module, "PLACES", (str(tmp_path / "none.ttf"),))
    with pytest.raises(PixwardError, match="install fonts-noto-color-emoji, set PIXWARD_EMOJI_FONT .* world of shapes"):
        emoji_world()
    with pytest.raises(PixwardError, match=f"there is no font at {tmp_path}/own.ttf"):
        emoji_world(font=tmp_path / "own.ttf")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "set.ttf"))
    with pytest.raises(PixwardError, match=r"no font at .*set.ttf"):
        find_font()


def test_a_font_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    first, second = tmp_path / "a.ttf", tmp_path / "b.ttf"
    second.touch()
    monkeypatch.setattr(module, "PLACES", (str(first), str(second)))
    assert find_font() == second
    first.touch()
    assert find_font() == first and find_font(second) == second
    monkeypatch.setenv(ENVIRONMENT, str(second))
    assert find_font() == second and find_font(first) == first


def test_files_that_are_no_emoji_font_are_named(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib import font_manager

    (tmp_path / "text.ttf").write_text("no font")
    with pytest.raises(PixwardError, match="text.ttf is no TrueType font"):
        emoji_world(font=tmp_path / "text.ttf")
    plain = Path(font_manager.findfont("DejaVu Sans", fallback_to_default=True))
    with pytest.raises(PixwardError, match=r"does not draw \w+: give the file NotoColorEmoji.ttf"):
        emoji_world(font=plain)


def test_the_characters_of_a_font_as_another_reader_tells_them():
    tools = pytest.importorskip("fontTools.ttLib")
    matplotlib = pytest.importorskip("matplotlib.font_manager")
    path = Path(matplotlib.findfont("DejaVu Sans"))
    with tools.TTFont(path) as opened:
        tables = [set(table.cmap) for table in opened["cmap"].tables if table.format == 12]
    assert tables and set(module._characters(path)) == set().union(*tables)


def test_worlds_of_animals(font):
    everything, train, held = (emoji_world(font=font, split=split) for split in ("all", "train", "held-out"))
    assert len(everything.prompts) == 42 * (1 + len(GROUNDS))
    assert {"a tiger", "an ant on sand", "a fox on grass"} <= set(everything.texts)
    subjects = [{prompt.subject for prompt in world.prompts} for world in (train, held)]
    assert not subjects[0] & subjects[1] and len(subjects[0]) == 33 and len(subjects[1]) == 9
    assert train.groups == held.groups == (tuple(ANIMALS), GROUNDS)
    for prompt, (subject, ground) in zip(everything.prompts, read_prompts(everything.texts, train.groups), strict=True):
        assert list(ANIMALS.values())[subject] == prompt.subject
        assert (GROUNDS[ground] if ground >= 0 else None) == prompt.ground


def test_pictures_are_emoji_of_pillow_at_any_place(font):
    """Upright, at the font's own size reduced, over its ground: the tiger's orange is what Pillow draws."""
    settings = WorldSettings(size=64, scale=(0.8, 0.8), hue=0, grounds=())
    world = emoji_world(settings, font=font, split="all")
    from PIL import Image, ImageDraw

    page = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(page).text((10, 10), "🐅", font=ImageFont.truetype(str(font), 109), embedded_color=True)
    page = page.crop(page.getbbox())
    share = 51 / max(page.size)
    small = np.asarray(page.resize((round(page.width * share), round(page.height * share)), Image.Resampling.BOX))
    solid = small[..., 3] == 255
    errors = []
    for seed in range(4):
        picture = world.draw(Prompt("a tiger", "🐅", None, None), np.random.default_rng(seed)).astype(int)
        best = min(
            np.abs(picture[y : y + small.shape[0], x : x + small.shape[1]][solid] - small[..., :3][solid]).mean()
            for y in range(64 - small.shape[0] + 1)
            for x in range(64 - small.shape[1] + 1)
        )
        errors.append(best)
    assert max(errors) < 3


def test_animals_look_either_way_and_hues_turn(font):
    settings = WorldSettings(size=32, scale=(1, 1), hue=0, grounds=())
    world = emoji_world(settings, font=font, split="all")
    tiger = next(prompt for prompt in world.prompts if prompt.text == "a tiger")
    assert tiger.mirrored
    pictures = [world.draw(tiger, np.random.default_rng(seed)).astype(int) for seed in range(12)]
    # Which half is darker tells which way it looks.
    sides = {bool(picture[:, :16].sum() > picture[:, 16:].sum()) for picture in pictures}
    assert sides == {True, False}
    turned = emoji_world(WorldSettings(size=32, scale=(1, 1), hue=60, grounds=()), font=font, split="all")
    colours = [
        turned.draw(tiger, np.random.default_rng(seed)).reshape(-1, 3).astype(float).mean(0) for seed in range(12)
    ]
    assert np.ptp([red - blue for red, _, blue in colours]) > 30


def test_all_emoji_by_name(font):
    names = emoji_names(font)
    assert 1250 <= len(names) <= 1400
    assert names["hot beverage"] == "☕" and names["grinning face"] == "😀" and "digit one" not in names
    assert not any("regional indicator" in name or "fitzpatrick" in name for name in names)
    world = emoji_world(WorldSettings(size=32), font=font, subjects="all", split="all")
    assert len(set(world.texts)) == len(world.texts)
    plain = [prompt for prompt in world.prompts if prompt.ground is None]
    drawn = dict(zip(world.groups[0], (prompt.subject for prompt in plain), strict=True))
    assert drawn["tiger"] == "🐅" and drawn["tiger face"] == "🐯" and "lion face" not in drawn
    read = read_prompts([prompt.text for prompt in plain], world.groups)[:, 0]
    assert [drawn[world.groups[0][i]] for i in read] == [prompt.subject for prompt in plain]
    for index in range(40):
        assert world.picture(index)[0].std() > 0
    with pytest.raises(ValueError, match="animals or all"):
        emoji_world(font=font, subjects="plants")
