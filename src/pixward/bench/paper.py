"""What RLPixTuner (NeurIPS 2024) reports, as data: for scale beside our own figures, never as a result of ours."""

from __future__ import annotations

Scores = tuple[str, str, str]
"""PSNR, SSIM and LPIPS as printed."""

OURS = "policy"
"""The strategy here that stands for the paper's own method: a policy, ten renders, nothing else."""

EXPERT: dict[str, Scores] = {
    "cmaes": ("28.53", ".9586", ".0968"),
    "monolithic": ("21.71", ".9104", ".2144"),
    "cascaded": ("22.31", ".9115", ".1939"),
    OURS: ("35.89", ".9764", ".0305"),
}
"""Its table 1, FiveK validation (500 photos), goals of expert C."""

RANDOM: dict[str, Scores] = {
    "cmaes": ("32.29", ".9754", ".0827"),
    "monolithic": ("21.08", ".9251", ".2785"),
    "cascaded": ("21.40", ".9213", ".2613"),
    OURS: ("38.46", ".9814", ".0128"),
}
"""Its table 1, FiveK validation, random goals."""

HDR_PLUS: dict[str, Scores] = {
    "cmaes": ("28.08", ".9539", ".1307"),
    "greedy": ("25.79", ".9212", ".1542"),
    "monolithic": ("17.80", ".8940", ".3044"),
    "cascaded": ("18.90", ".8982", ".2797"),
    OURS: ("31.54", ".9652", ".0563"),
}
"""Its table 3, HDR+ (153 scenes), networks trained on FiveK."""

QUERIES = {"cmaes": 200, "greedy": 200, "monolithic": 1, "cascaded": 1, OURS: 10}
"""After how many renders of the editor itself those stand; a proxy's 100 iterations end in one."""

SECONDS: dict[str, dict[str, str]] = {
    "cmaes": {"720p": "36.16", "1K": "51.82", "2K": "91.86", "4K": "144.02"},
    "monolithic": {"720p": "7.67", "1K": "17.89", "2K": "33.07", "4K": "OOM"},
    "cascaded": {"720p": "70.45", "1K": "OOM", "2K": "OOM", "4K": "OOM"},
    "hybrid": {"720p": "0.27", "1K": "0.33", "2K": "0.47", "4K": "1.23"},
}
"""Its table 2, seconds for a photo: EPYC 7402 and eight RTX 4090, 200 iterations for the baselines."""

ABLATION: dict[str, tuple[str, str]] = {
    "CNN only": ("32.17", ".968"),
    "+ dual path": ("35.15", ".973"),
    "+ dual path + statistics": ("37.61", ".980"),
    "+ dual path + history": ("35.96", ".976"),
    "all": ("38.46", ".983"),
}
"""Its table 4, FiveK's random goals: PSNR and SSIM."""

FIGURE = (
    "In the paper's figure 1, one photo: RLPixTuner 38.92 dB after 10 renders; CMA-ES 14.72 after 10, 29.85 after 200 "
    "and 39.72 after 500; its cascaded proxy 15.82 after 10 iterations and 18.69 after 200."
)
