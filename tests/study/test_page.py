"""The page as a person uses it, in a real browser; skipped where there is none."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
from tests.study.studies import study_folder

from pixward.study import StudySettings, build, read_key, read_picks, read_tasks

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
TOOLS = """
const $ = (id) => document.getElementById(id);
const key = (name) => (document.activeElement || document.body).dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const order = () => [...document.querySelectorAll(".result")].map((box) => box.dataset.name);
const picked = () => [...document.querySelectorAll(".result.picked")].map((box) => box.dataset.name);
const tell = (what) => { document.documentElement.dataset.told = JSON.stringify(what); };
onerror = (message, file, line) => tell({ uncaught: message, line });
onunhandledrejection = (event) => tell({ uncaught: String(event.reason) });
(async () => {
  const told = JSON.parse(sessionStorage.told || "[]");
  told.push(await VISITS[told.length]());
  sessionStorage.told = JSON.stringify(told);
  if (told.length < VISITS.length) location.reload(); else tell(told);
})();
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@pytest.fixture
def study(tmp_path):
    return build(read_tasks(study_folder(tmp_path / "tasks")), StudySettings(picks=2))


@pytest.fixture
def visit(tmp_path):
    """``visit(page, script, ...)``: a new browser opens the page and runs the first script, which returns what it saw;
    reloads, runs the second, and so on. All that the scripts returned."""

    def run(page: str, *scripts: str) -> list:
        folder = tmp_path / f"browser{len(list(tmp_path.glob('browser*')))}"
        folder.mkdir()
        visits = "".join(f"async () => {{ {script} }}," for script in scripts)
        code = f"<script>const VISITS = [{visits}]; {TOOLS}</script></body>"
        file = folder / "study.html"
        file.write_text(page.replace("</body>", code), encoding="utf-8")
        done = opened(folder, file.as_uri())
        told = re.search(r'<html[^>]* data-told="([^"]*)"', done.stdout)
        assert told
        seen = json.loads(html.unescape(told[1]))
        assert "uncaught" not in seen, seen
        return seen

    return run


def opened(folder, address: str) -> subprocess.CompletedProcess[str]:
    """What is left of the page when nothing happens any more.

    On a busy machine Chromium hangs once in a while, or gives up before the scripts are through: then once more, with
    nothing kept. What a script says, failures included, counts at once. A browser that never came up says nothing of
    the page: then the test is skipped.
    """
    ran = False
    for profile in ("first", "second", "third"):
        words = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={folder / profile}"]
        words += ["--virtual-time-budget=20000", "--dump-dom", address]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=45, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            continue
        ran = True
        if re.search("<html[^>]* data-told=", done.stdout):
            return done
    if not ran:
        pytest.skip("Chromium hung or crashed in three attempts")
    raise AssertionError("Chromium did not get through the scripts in three attempts")


def test_a_person_answers_reloads_goes_back_and_saves(tmp_path, study, visit):
    first, second, third = visit(
        study.page,
        """
        key("Enter"); key("1"); key("3"); key("2");  // one too many
        const told = { order: order(), picked: picked(), hint: $("hint").textContent, count: $("count").textContent };
        key("ArrowRight");
        return told;
        """,
        """
        const told = { count: $("count").textContent, picked: picked() };
        key("ArrowRight");
        told.hint = $("hint").textContent;
        key("ArrowLeft");
        told.back = { order: order(), picked: picked() };
        document.querySelectorAll(".pick")[0].click();  // changes their mind
        told.changed = picked();
        key("Enter"); key("v"); $("large-pick").click();  // the large view picks the first
        told.large = { open: $("large").open, picked: picked(), first: order()[0] };
        $("large").close();
        key("Enter"); key("0");  // the third: cannot tell, which goes on by itself
        told.end = !$("end").hidden;
        return told;
        """,
        """
        let blob;
        URL.createObjectURL = (made) => { blob = made; return "data:,"; };
        $("save").click();
        return { file: await blob.text(), shown: $("text").value, saved: $("saved").textContent };
        """,
    )
    assert first["picked"] == [first["order"][0], first["order"][2]]
    assert first["hint"] == "You have picked 2: take one back first." and first["count"] == "Question 1 of 3"
    assert second["count"] == "Question 2 of 3" and second["picked"] == []  # where they were before
    assert second["hint"] == "Pick at least one, or say that you cannot tell."
    assert second["back"] == {"order": first["order"], "picked": first["picked"]}
    assert second["changed"] == [first["order"][2]]
    assert second["large"]["open"] and second["large"]["picked"] == [second["large"]["first"]] and second["end"]
    assert third["file"] == third["shown"] and "Saved as picks-" in third["saved"]
    check_file(tmp_path, study, third, first)


def check_file(tmp_path, study, saved, first):
    picks, key = tmp_path / "picks.json", tmp_path / "key.json"
    picks.write_text(saved["file"])
    key.write_text(json.dumps(study.key))
    people, faults = read_picks([picks], read_key(key))
    assert faults == [] and len(people[0].answers) == 3
    assert sorted(len(answer.picks) for answer in people[0].answers) == [0, 1, 1]
    raw = json.loads(saved["file"])
    answer = next(answer for answer in raw["answers"] if answer["shown"] == first["order"])
    assert answer["picks"] == [first["order"][2]] and answer["seconds"] >= 0
    assert raw["participant"] in saved["saved"] and len(raw["participant"]) == 16


def test_order_differs_by_person_and_question_but_not_by_reload(study, visit):
    walk = """
        if (!$("intro").hidden) key("Enter");
        while (!$("back").disabled) key("ArrowLeft");
        const seen = [];
        for (let i = 0; i < 3; i++) { seen.push(order()); if (!picked().length) key("1"); if (i < 2) key("Enter"); }
    """
    others = (
        "window.confirm = () => true; const all = []; for (let k = 0; k < 10; k++) {"  # All alike: once in ten million.
    )
    others += walk + 'all.push(seen); key("Enter"); $("another").click(); } return all;'
    once, again, people = visit(study.page, f"{walk} return seen;", f"{walk} return seen;", others)
    assert once == again == people[0]
    entries = {name: entry for entry in study.key["questions"] for name in entry["results"]}
    assert len({tuple(entries[names[0]]["id"] for names in seen) for seen in people}) > 1  # the questions' order
    methods = [tuple(entries[names[0]]["results"][name] for name in names) for seen in people for names in seen]
    assert len(set(methods)) > 2


def test_one_pick_is_replaced_and_another_person_starts_anew(tmp_path, visit):
    single = build(read_tasks(study_folder(tmp_path / "one", tasks=1)), StudySettings(picks=1))
    [told] = visit(
        single.page,
        """
        window.confirm = () => true;
        key("Enter"); key("1"); key("2");
        const before = { order: order(), picked: picked() };
        key("Enter");
        const one = JSON.parse($("text").value).participant;
        $("another").click();
        const intro = !$("intro").hidden;
        key("Enter");
        return { before, intro, after: picked(), one, kept: Object.values(localStorage).join() };
        """,
    )
    assert told["before"]["picked"] == [told["before"]["order"][1]]
    assert told["intro"] and told["after"] == [] and told["one"] not in told["kept"]


def test_nothing_on_the_page_names_a_method(study, visit):
    [shown] = visit(
        study.page,
        """
        key("Enter");
        const words = [document.body.innerText];
        for (const node of document.querySelectorAll("*")) {
          for (const at of ["alt", "title", "aria-label", "id", "class"]) words.push(node.getAttribute(at) || "");
        }
        return words.join(" ");
        """,
    )
    assert "Result 1" in shown and "Target" in shown
    assert "method" not in shown and "secret" not in shown
