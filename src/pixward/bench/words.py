"""The parts of the edit benchmark's page that are prose: how it measures, and what the paper reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixward.bench.goals import BRIGHT, DARK
from pixward.bench.settings import BUDGETS
from pixward.bench.stats import RESAMPLES
from pixward.bench.summary import CAP


def how(result: Mapping[str, Any]) -> str:
    """How goals are made and what is counted."""
    return f"""\
Every strategy works on the same pairs. A goal `EDITOR@r` is one pass of the editor over the photo with the normalised
sliders at `a = r * u`, where `u = numpy.random.default_rng([seed, i]).uniform(-1, 1, d)` for photo number `i` and `d`
sliders; where the goal's mean is below {DARK:g} or above {BRIGHT:g}, `u` is drawn again from the same generator. Goals
are 8 bit. `EDITOR@teacher` goals come from a 3D-LUT network trained on FiveK's expert C ("3D-LUT teacher pairs", not
FiveK): they need not be within the sliders' reach, and `gradient` says what is. Goals `EDITOR@given` came with
the photos.

Every render counts, finite differences included. Figures at k renders are the best picture among the first k of one
search with a budget of {result["settings"]["renders"]}; the untouched photo counts as a picture that cost nothing.
Pictures are compared as 8-bit images at preview size. `policy` renders {BUDGETS["policy"]} times and then
holds its result; the proxies render once, at the end of 100 iterations of Adam on the proxy, as in the paper.
`gradient` looks inside the editor, {BUDGETS["gradient"]} renders: it is a ceiling and no black box.

PSNR is in dB and an exact match counts as 100. Since a few of those can carry a mean, "mean <= {CAP:g}" caps every
photo at {CAP:g} dB, and "exact" counts them. deltaE is CIEDE2000, mean over pixels. In brackets: bootstrap interval of
95 % over photos ({RESAMPLES} draws). "worst 5 %" is the 5th percentile of PSNR and SSIM, the 95th of deltaE and LPIPS.
† more than half of the photos' searches had ended by then and hold their last picture."""


def paper_note(result: Mapping[str, Any]) -> str:
    """Why the paper's figures stand here for scale only."""
    return f"""\
PSNR / SSIM / LPIPS, means; in brackets the number of photos. *In italics: what RLPixTuner (NeurIPS 2024) prints, with
`policy` in the place of its own method.*

**Not the same work.** RLPixTuner was measured on 500 photos of FiveK and 153 scenes of HDR+; this page measures
{len(result["photos"])} photos of `{result["folder"]}`. In its released code the ten steps edit one another's results,
so that what comes out is ten composed edits, where every
strategy here gives one setting. Its pictures are float and a quarter of the native size; ours are 8 bit and
{result["settings"]["preview"]} px. Neither its slider ranges for random goals nor its weights are published. Its
figures stand here for scale; the comparison that counts is the one with `cmaes` and `least-squares`, on the
same pairs."""
