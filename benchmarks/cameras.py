"""A made-up set of raw files with the JPEGs of made-up cameras: what a match of raw to camera JPEG is measured on.

    python benchmarks/cameras.py --photos ../shared/data/photos/hires_cc0 ../shared/data/photos/bsds500/val --count 24 \
        --out runs/cameras

Each photo becomes the light of a scene (inverse sRGB curve, highlights opened up again), and the scene a Bayer mosaic:
a camera matrix and a sensor of its own, a light source of 3,200 to 8,000 K, one stop of headroom, Poisson-Gaussian
noise, 12 or 14 bit. The JPEG comes from the same scene by another way, which no editor's sliders describe exactly: a
lens correction and a crop, a colour matrix, a logistic tone curve in stops with its own pivot, toe and shoulder,
saturation with blue and green skewed, sharpening, 8-bit JPEG of quality 92. It lies beside the DNG and in it.

Everything follows from the seed and the place in the list. About 2 s for a photo of 1,600 pixels.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from pixward.data.pairs import photo_files
from pixward.editors.dngfile import XYZ_TO_SRGB, DngInfo, write_dng
from pixward.files import save_atomic

LONGEST, QUALITY = 1600, 92
SENSOR = np.array([[0.78, 0.18, 0.04], [0.12, 0.78, 0.10], [0.03, 0.20, 0.77]])
GREY = 0.18


@dataclass(frozen=True)
class Warp:
    """JPEG to scene: at ``q`` from the JPEG's centre, in half diagonals, lies ``zoom (1 + k1 |q|^2) q + shift``.

    Attributes:
        zoom: share of the scene's diagonal that the JPEG shows, below 1.
        k1: radial lens correction.
        shift: x, y in half diagonals.
    """

    zoom: float
    k1: float
    shift: tuple[float, float]


@dataclass(frozen=True)
class Camera:
    """One made-up camera, and one light.

    Attributes:
        sensor: linear sRGB to balanced camera colours, 3x3, rows add up to 1.
        daylight: the sensor's response to D65 white, largest 1.
        kelvin: colour temperature of the light.
        bits: of the raw values.
        black: level of no light.
        shot: variance of the noise by signal, full well 1.
        read: variance of the noise of reading, full well 1.
        warp: lens correction and crop of the JPEG.
        colours: the JPEG's colour matrix, linear, rows add up to 1.
        gain: the JPEG's brightening, stops.
        contrast: slope of the logistic curve per stop, at its pivot; 0.56 is that of sRGB at middle grey.
        toe: how much of the curve's foot is cut off.
        saturation: chroma in the finished JPEG.
        skew: extra chroma of blue and of green.
        sharpen: amount and radius in pixels of the unsharp mask.
        grain: standard deviation of noise left in the JPEG, display-referred.
    """

    sensor: list[list[float]]
    daylight: tuple[float, float, float]
    kelvin: float
    bits: int
    black: float
    shot: float
    read: float
    warp: Warp
    colours: list[list[float]]
    gain: float
    contrast: float
    toe: float
    saturation: float
    skew: tuple[float, float]
    sharpen: tuple[float, float]
    grain: float


@dataclass(frozen=True)
class Truth:
    """Where a sample comes from.

    Attributes:
        photo: the photo that the scene was made of.
        size: (width, height) of the mosaic.
        camera: all that was drawn.
    """

    photo: Path
    size: tuple[int, int]
    camera: Camera


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=24, help="so many, the first of each folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    photos: list[Path] = []
    for folders in range(len(options.photos), 0, -1):  # a folder that has too few leaves more to the next
        share = -(-(options.count - len(photos)) // folders)
        photos += photo_files([options.photos[-folders]])[:share]
    for dng, jpeg, _ in make_set(options.out, photos, options.seed):
        print(dng, jpeg)


def make_set(folder: Path, photos: list[Path], seed: int) -> list[tuple[Path, Path, Truth]]:
    """A DNG, its camera JPEG and the truth for each photo; ``folder`` also gets ``truth.json``. Replaces older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for index, photo in enumerate(photos):
        rng = np.random.default_rng([seed, index])
        camera = draw_camera(rng)
        light = scene(photo)
        jpeg = camera_jpeg(light, camera, rng)
        dng, beside = folder / f"{index:02d}-{photo.stem}.dng", folder / f"{index:02d}-{photo.stem}.jpg"
        info = dng_info(camera, f"camera {index:02d}")
        write_dng(dng, expose(light, camera, info, rng), info, preview=jpeg, force=True)
        save_atomic(beside, lambda part, data=jpeg: part.write_bytes(data), force=True)
        samples.append((dng, beside, Truth(photo, (light.shape[1], light.shape[0]), camera)))
    rows = [{"photo": t.photo.name, "size": t.size, "camera": asdict(t.camera)} for _, _, t in samples]
    (folder / "truth.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return samples


def draw_camera(rng: np.random.Generator) -> Camera:
    """A camera at random."""
    sensor = SENSOR + 0.03 * rng.standard_normal((3, 3))
    colours = np.eye(3) + 0.045 * rng.standard_normal((3, 3)) * (1 - np.eye(3))
    warp = Warp(
        zoom=1 - rng.uniform(0.01, 0.03),
        k1=rng.uniform(-0.02, 0.02),
        shift=(rng.uniform(-0.005, 0.005), rng.uniform(-0.005, 0.005)),
    )
    return Camera(
        sensor=(sensor / sensor.sum(1, keepdims=True)).tolist(),
        daylight=(rng.uniform(0.42, 0.62), 1.0, rng.uniform(0.55, 0.8)),
        kelvin=rng.uniform(3200, 8000),
        bits=int(rng.choice([12, 14])),
        black=float(rng.integers(64, 200)),
        shot=10 ** rng.uniform(-4.3, -3.5),
        read=10 ** rng.uniform(-7.5, -6.5),
        warp=warp,
        colours=(colours / colours.sum(1, keepdims=True)).tolist(),
        gain=rng.uniform(-0.1, 0.5),
        contrast=rng.uniform(0.6, 0.85),
        toe=rng.uniform(0.2, 1.0),
        saturation=rng.uniform(0.95, 1.25),
        skew=(rng.uniform(-0.1, 0.2), rng.uniform(-0.1, 0.15)),
        sharpen=(rng.uniform(0.3, 0.9), rng.uniform(0.6, 1.1)),
        grain=rng.uniform(0.001, 0.004),
    )


def scene(photo: Path) -> np.ndarray:
    """The photo as light, ``(H, W, 3)`` linear sRGB, sides even; white becomes up to 1.9."""
    with Image.open(photo) as image:
        image = image.convert("RGB")
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
        encoded = np.asarray(image, np.float64) / 255
    encoded = encoded[: encoded.shape[0] // 2 * 2, : encoded.shape[1] // 2 * 2]
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear * (1 + 0.9 * linear.max(2, keepdims=True) ** 3)


def planck_xyz(kelvin: float) -> np.ndarray:
    """White of a black body, XYZ with Y = 1; the cubic fit of Kim et al. (2002), 1,667 to 25,000 K."""
    k = 1e3 / kelvin
    if kelvin <= 4000:
        x = -0.2661239 * k**3 - 0.2343589 * k**2 + 0.8776956 * k + 0.179910
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        x = -3.0258469 * k**3 + 2.1070379 * k**2 + 0.2226347 * k + 0.240390
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    return np.array([x / y, 1, (1 - x - y) / y])


def dng_info(camera: Camera, model: str) -> DngInfo:
    """What the DNG says of the sensor and the light."""
    matrix = np.diag(camera.daylight) @ np.array(camera.sensor) @ XYZ_TO_SRGB
    neutral = matrix @ planck_xyz(camera.kelvin)
    neutral /= neutral.max()
    return DngInfo(
        ((0, 1), (1, 2)),
        camera.black,
        float(2**camera.bits - 1),
        (float(neutral[0]), float(neutral[1]), float(neutral[2])),
        tuple((float(row[0]), float(row[1]), float(row[2])) for row in matrix),
        make="pixward",
        model=model,
    )


def expose(light: np.ndarray, camera: Camera, info: DngInfo, rng: np.random.Generator) -> np.ndarray:
    """The mosaic ``(H, W)`` uint16: one stop below the brightness at which white would fill the sensor."""
    response = light @ (np.diag(info.neutral) @ np.array(camera.sensor)).T * 0.5
    mosaic = np.empty(light.shape[:2])
    for place in range(4):
        y, x = divmod(place, 2)
        mosaic[y::2, x::2] = response[y::2, x::2, info.pattern[y][x]]
    mosaic = mosaic.clip(0)
    mosaic += rng.standard_normal(mosaic.shape) * np.sqrt(camera.shot * mosaic + camera.read)
    return (mosaic * (info.white - camera.black) + camera.black).round().clip(0, info.white).astype(np.uint16)


def camera_jpeg(light: np.ndarray, camera: Camera, rng: np.random.Generator) -> bytes:
    """The camera's own JPEG of the scene."""
    picture = np.einsum("hwc,rc->hwr", bend(light, camera.warp), np.array(camera.colours)).clip(1e-6)
    picture = tone(picture * 2**camera.gain, camera)
    grey = picture @ np.array([0.2126, 0.7152, 0.0722])
    chroma = picture - grey[..., None]
    blue, green = (chroma[..., 2].clip(0), chroma[..., 1].clip(0))
    strength = camera.saturation + camera.skew[0] * np.tanh(8 * blue) + camera.skew[1] * np.tanh(8 * green)
    amount, radius = camera.sharpen
    grey_sharp = grey + amount * (grey - gaussian_filter(grey, radius))
    picture = grey_sharp[..., None] + chroma * strength[..., None]
    picture += camera.grain * rng.standard_normal(picture.shape[:2])[..., None]
    file = io.BytesIO()
    pixels = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling=1)
    return file.getvalue()


def tone(light: np.ndarray, camera: Camera) -> np.ndarray:
    """Light to display values in [0, 1]: logistic in stops about middle grey, its foot partly cut off."""
    pivot = np.log(1 / 0.46 - 1) / camera.contrast  # middle grey becomes 0.46, as in sRGB

    def logistic(stops: np.ndarray | float) -> np.ndarray:
        return 1 / (1 + np.exp(-camera.contrast * (stops - pivot)))

    black = camera.toe * logistic(-7.0)
    white = logistic(float(np.log2(1.9 * 2**camera.gain / GREY)))
    return ((logistic(np.log2(light / GREY)) - black) / (white - black)).clip(0, 1)


def bend(light: np.ndarray, warp: Warp) -> np.ndarray:
    """The scene through the lens correction and the crop, ``(h, w, 3)``: as many pixels per length as the scene."""
    height, width = (round(side * warp.zoom) // 2 * 2 for side in light.shape[:2])
    y, x = np.mgrid[0:height, 0:width] + 0.5
    places = to_scene(np.stack([x, y], -1), (width, height), (light.shape[1], light.shape[0]), warp)
    rows, columns = places[..., 1] - 0.5, places[..., 0] - 0.5
    planes = [map_coordinates(light[..., c], [rows, columns], order=3, mode="nearest") for c in range(3)]
    return np.stack(planes, -1).clip(0)


def to_scene(points: np.ndarray, jpeg: tuple[int, int], size: tuple[int, int], warp: Warp) -> np.ndarray:
    """Places ``(..., 2)`` (x, y in pixels, the first pixel's centre at 0.5) in the JPEG to places in the scene."""
    half = 0.5 * float(np.hypot(*size))
    q = (points - np.array(jpeg) / 2) / (half * warp.zoom)
    radius2 = (q**2).sum(-1, keepdims=True)
    return (warp.zoom * (1 + warp.k1 * radius2) * q + np.array(warp.shift)) * half + np.array(size) / 2


if __name__ == "__main__":
    main()
