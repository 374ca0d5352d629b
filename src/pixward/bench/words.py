"""The parts of the edit benchmark's page that are prose: how it measures, and what the paper reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixward.bench.goals import BRIGHT, DARK
from pixward.bench.stats import RESAMPLES
from pixward.bench.summary import CAP

PAPER = """\
| RLPixTuner, FiveK validation, 500 photos | renders | Expert C: PSNR / SSIM / LPIPS | Random: PSNR / SSIM / LPIPS |
|---|---:|---|---|
| CMA-ES | 200 | 28.53 / .9586 / .0968 | 32.29 / .9754 / .0827 |
| monolithic proxy | 100 on the proxy | 21.71 / .9104 / .2144 | 21.08 / .9251 / .2785 |
| cascaded proxy | 100 on the proxy | 22.31 / .9115 / .1939 | 21.40 / .9213 / .2613 |
| RLPixTuner | 10 | 35.89 / .9764 / .0305 | 38.46 / .9814 / .0128 |

| RLPixTuner, HDR+, 153 scenes | renders | PSNR / SSIM / LPIPS |
|---|---:|---|
| CMA-ES | 200 | 28.08 / .9539 / .1307 |
| greedy | 200 | 25.79 / .9212 / .1542 |
| monolithic proxy | 100 on the proxy | 17.80 / .8940 / .3044 |
| cascaded proxy | 100 on the proxy | 18.90 / .8982 / .2797 |
| RLPixTuner | 10 | 31.54 / .9652 / .0563 |

| its ablation, FiveK Random | PSNR / SSIM |
|---|---|
| CNN only | 32.17 / .968 |
| + dual path | 35.15 / .973 |
| + dual path, statistics | 37.61 / .980 |
| + dual path, history | 35.96 / .976 |
| all | 38.46 / .983 |"""


def how(result: Mapping[str, Any]) -> str:
    """How goals are made and what is counted."""
    return f"""\
Every strategy works on the same pairs. A goal `EDITOR@r` is one pass of the editor over the photo with the normalised
sliders at `a = r * u`, where `u = numpy.random.default_rng([seed, i]).uniform(-1, 1, d)` for photo number `i` and `d`
sliders; where the goal's mean is below {DARK:g} or above {BRIGHT:g}, `u` is drawn again from the same generator. Goals
are 8 bit. `EDITOR@teacher` goals come from a 3D-LUT network trained on FiveK's expert C ("3D-LUT teacher pairs", not
FiveK): they need not be within the sliders' reach, and `gradient` says what is.

Every render counts, finite differences included. Figures at k renders are the best picture among the first k of one
search with a budget of {result["settings"]["renders"]}; the untouched photo counts as a picture that cost nothing.
Pictures are compared as 8-bit images at preview size. `policy` renders 10 times and then holds its result. `gradient`
looks inside the editor: it is a ceiling and no black box.

PSNR is in dB and an exact match counts as 100. Since a few of those can carry a mean, "mean <= {CAP:g}" caps every
photo at {CAP:g} dB, and "exact" counts them. deltaE is CIEDE2000, mean over pixels. In brackets: bootstrap interval of
95 % over photos ({RESAMPLES} draws). "worst 5 %" is the 5th percentile of PSNR and SSIM, the 95th of deltaE and LPIPS.
† more than half of the photos' searches had ended by then and hold their last picture."""


def paper_note(result: Mapping[str, Any]) -> str:
    """Why the paper's figures stand here for scale only."""
    return f"""\
**Not the same work.** RLPixTuner (NeurIPS 2024) was measured on FiveK and HDR+, which are not used here; this page
measures {len(result["photos"])} photos of `{result["folder"]}`. In its released code the ten steps edit one another's
results, so that what comes out is ten composed edits, where every strategy here gives one setting. Its pictures are
float and a quarter of the native size; ours are 8 bit and {result["settings"]["preview"]} px. Neither its slider ranges
for random goals nor its weights are published. Its figures stand here for scale; the comparison that counts is the one
with `cmaes` and `least-squares` above, on the same pairs."""
