"""HDR+'s layouts, made up: the names are real ones, the files hold nothing."""

from __future__ import annotations

import pytest
from tests.data.test_paired import touch

from pixward.data.hdrplus import list_pairs
from pixward.data.paired import pairs_of
from pixward.errors import PixwardError

BURSTS = ("0006_20160722_115157_431", "c1b1_20150424_201100_596")


def results(folder, name="results_20171023"):
    for k, burst in enumerate(BURSTS):
        touch(*(folder / name / burst / file for file in ("merged.dng", "final.jpg")))
        (folder / name / burst / "reference_frame.txt").write_text(f"{k}\n")
        touch(*(folder / "bursts" / burst / f"payload_N00{n}.dng" for n in range(3)))


@pytest.mark.parametrize("above", ["", "20171106_subset", "hdrplusdata/20171106"])
def test_merged_and_finished(tmp_path, above):
    results(tmp_path / above, "results_20161014")
    results(tmp_path / above)
    pairs = pairs_of(tmp_path, "hdrplus")
    place = tmp_path / above / "results_20171023"
    assert [(pair.name, pair.source, pair.goal) for pair in pairs] == [
        (burst, place / burst / "merged.dng", place / burst / "final.jpg") for burst in BURSTS
    ]
    assert list_pairs(place) == pairs  # the results folder itself


def test_the_paper_s_results_where_there_are_no_others(tmp_path):
    results(tmp_path, "results_20161014")
    assert {pair.goal.parent.parent.name for pair in list_pairs(tmp_path)} == {"results_20161014"}


def test_the_reference_frame(tmp_path):
    results(tmp_path)
    assert [pair.source for pair in pairs_of(tmp_path, "hdrplus:frame")] == [
        tmp_path / "bursts" / burst / f"payload_N00{k}.dng" for k, burst in enumerate(BURSTS)
    ]
    (tmp_path / "bursts" / BURSTS[1] / "payload_N001.dng").unlink()
    with pytest.raises(PixwardError, match=rf"bursts has no payload_N001.dng of {BURSTS[1]}: fetch it"):
        list_pairs(tmp_path, "frame")
    (tmp_path / "results_20171023" / BURSTS[0] / "reference_frame.txt").write_text("?")
    with pytest.raises(PixwardError, match="no reference_frame.txt with a number"):
        list_pairs(tmp_path, "frame")


def test_reduced_copies(tmp_path):
    touch(*(tmp_path / "middle_480p" / f"{burst}.png" for burst in BURSTS))
    touch(*(tmp_path / "output_480p" / f"{burst}.jpg" for burst in BURSTS))
    ids = tmp_path / "test.txt"
    ids.write_text(f"{BURSTS[1]}\n")
    assert [pair.name for pair in list_pairs(tmp_path)] == list(BURSTS)
    assert [pair.goal.name for pair in list_pairs(tmp_path, ids=ids)] == [f"{BURSTS[1]}.jpg"]


def test_a_download_that_is_not_complete(tmp_path):
    results(tmp_path)
    place = tmp_path / "results_20171023"
    ids = tmp_path / "ids.txt"
    ids.write_text(BURSTS[0])
    (place / BURSTS[1] / "merged.dng").unlink()
    with pytest.raises(PixwardError, match=rf"has no merged.dng of {BURSTS[1]}: fetch it"):
        list_pairs(tmp_path)
    touch(place / BURSTS[1] / "merged.dng")
    (place / BURSTS[1] / "final.jpg").unlink()
    with pytest.raises(PixwardError, match=rf"has no final.jpg of {BURSTS[1]}: add what is missing"):
        list_pairs(tmp_path)
    assert [pair.name for pair in list_pairs(tmp_path, ids=ids)] == [BURSTS[0]]
    ids.write_text("0006_19990101\n")
    with pytest.raises(PixwardError, match="the list names 0006_19990101"):
        list_pairs(tmp_path, ids=ids)


def test_another_folder_is_told_what_was_expected(tmp_path):
    with pytest.raises(PixwardError, match=r"HDR\+ \(it holds nothing\): expected results_20171023/BURST/merged.dng"):
        list_pairs(tmp_path)
    touch(tmp_path / "bursts" / BURSTS[0] / "payload_N000.dng")
    with pytest.raises(PixwardError, match="holds the bursts alone: fetch results_20171023 too"):
        list_pairs(tmp_path)
    with pytest.raises(PixwardError, match="is no folder"):
        list_pairs(tmp_path / "nowhere")
