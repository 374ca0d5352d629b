"""Camera raw files: developed to a photo, and the camera's own JPEG out of them. Needs rawpy (LibRaw)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixward import decode, exif, icc
from pixward.errors import PixwardError
from pixward.image import Photo, upright

__all__ = ["embedded_jpeg", "is_raw", "load_raw", "open_raw"]

ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}
"""LibRaw's flip as an EXIF orientation."""
_TINY = 640
"""A JPEG with a longest side below this is a thumbnail: look for a larger one."""
_EXIFTOOL_SECONDS = 60


def is_raw(path: str | Path) -> bool:
    """Whether the file is a camera raw file: by its suffix, else (DNG and Canon files of other names) by its tags.

    A file that cannot be read is none, unless its suffix says so.
    """
    path = Path(path)
    if decode.RAW.search(path.name):
        return True
    try:
        return decode.is_raw_inside(path)
    except PixwardError:
        return False


def load_raw(path: str | Path, *, half: bool = False) -> Photo:
    """Develop a raw file plainly: what the built-in chain then edits.

    The camera's white balance, its matrix to sRGB primaries, the sRGB curve, AHD demosaicing, highlights clipped at
    the first channel that clips; no brightening, no lens correction. EXIF is kept where the file is a TIFF inside
    (NEF, ARW, CR2, DNG, PEF ...).

    Args:
        path: the raw file.
        half: one pixel for each 2x2 block of the mosaic: half the size, several times as fast.

    Returns:
        A photo of 16 bit, upright.

    Raises:
        PixwardError: rawpy is not installed; missing, empty, cut short, or of a kind that LibRaw does not read.
    """
    path = Path(path)
    with open_raw(path) as raw:
        pixels = raw.postprocess(
            use_camera_wb=True,
            output_color=_rawpy(path).ColorSpace.sRGB,
            gamma=(2.4, 12.92),
            output_bps=16,
            no_auto_bright=True,
            adjust_maximum_thr=0.0,  # else the brightness depends on the brightest photosite
            half_size=half,
        )
    if pixels.ndim == 2 or pixels.shape[2] != 3:
        raise PixwardError(f"{path} gives {pixels.shape} samples, not RGB; develop it to a 16-bit TIFF first")
    return Photo(pixels, None, exif.upright(exif.from_tiff(path))[0], None, path)


def embedded_jpeg(path: str | Path) -> Photo:
    """The largest JPEG in a raw file: what the camera made of the scene, upright and in sRGB.

    LibRaw finds it in most files; where it finds none or only a thumbnail, exiftool is asked if it is installed
    (JpgFromRaw, then PreviewImage).

    Raises:
        PixwardError: rawpy is not installed, the file cannot be read, or holds no JPEG.
    """
    path = Path(path)
    with open_raw(path) as raw:
        flip = raw.sizes.flip
        wide = (raw.sizes.width >= raw.sizes.height) == (flip not in (5, 6))  # upright
        found = _thumbnail(path, raw)
    photos = [photo for data in found if (photo := _jpeg_photo(path, data, flip, wide))]
    if not photos or max(photos[0].size) < _TINY:
        photos += [photo for data in _by_exiftool(path) if (photo := _jpeg_photo(path, data, flip, wide))]
    if not photos:
        raise PixwardError(f"{path} holds no JPEG that can be read; give the camera's JPEG with --goal FILE")
    return max(photos, key=lambda photo: photo.size[0] * photo.size[1])


@contextmanager
def open_raw(path: str | Path) -> Iterator[Any]:
    """The raw file as a ``rawpy.RawPy``, its mosaic read; what LibRaw raises inside becomes one clear line.

    Raises:
        PixwardError: rawpy is not installed; missing, empty, cut short, too large, or of a kind that LibRaw does not
            read.
    """
    path = Path(path)
    rawpy = _rawpy(path)
    decode.check_readable(path)
    try:
        with rawpy.RawPy() as raw:
            # From memory, since LibRaw itself trips over some file names. It reads on from these bytes later, and rawpy
            # does not hold them: we must, or the process dies.
            whole = _Held(path.read_bytes())
            raw.open_buffer(whole)
            decode.check_size(path, raw.sizes.raw_width, raw.sizes.raw_height)
            raw.unpack()
            yield raw
    except (rawpy.LibRawFileUnsupportedError, rawpy.NotSupportedError) as error:
        raise PixwardError(
            f"{path} cannot be read: LibRaw {_version(rawpy)} does not know this kind of raw file; "
            "update rawpy, or convert the file to DNG"
        ) from error
    except rawpy.LibRawError as error:
        detail = _text(error)
        raise PixwardError(
            f"{path} cannot be read: the raw file is damaged, cut short or of a rare kind ({detail}); "
            "copy it again from its source"
        ) from error
    except MemoryError as error:
        raise PixwardError(f"{path} does not fit in memory") from error
    except OSError as error:
        raise PixwardError(f"cannot read {path}: {error.strerror or error}") from error


class _Held:
    """A file object that hands out the same bytes that it keeps."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int = -1) -> bytes:
        return self.data


def _rawpy(path: Path) -> Any:
    try:
        import rawpy
    except ImportError as error:
        raise PixwardError(
            f"{path} is a camera raw file: pip install 'pixward[raw]' to read it, "
            "or develop it to a 16-bit TIFF first (darktable, RawTherapee)"
        ) from error
    return rawpy


def _version(rawpy: Any) -> str:
    return ".".join(map(str, rawpy.libraw_version))


def _text(error: Exception) -> str:
    """LibRaw's reason, which rawpy hands over as bytes."""
    reason = error.args[0] if error.args else type(error).__name__
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _thumbnail(path: Path, raw: Any) -> list[bytes]:
    """The JPEG that LibRaw finds, if any."""
    rawpy = _rawpy(path)
    try:
        thumb = raw.extract_thumb()
    except rawpy.LibRawError:
        return []
    return [bytes(thumb.data)] if thumb.format == rawpy.ThumbFormat.JPEG else []


def _by_exiftool(path: Path) -> list[bytes]:
    """The JPEGs that exiftool finds; none where it is not installed or fails."""
    tool = shutil.which("exiftool")
    found: list[bytes] = []
    for tag in ("-JpgFromRaw", "-PreviewImage"):
        if tool is None or found:
            break
        try:  # an absolute name never looks like an option
            done = subprocess.run(
                [tool, "-b", tag, str(path.absolute())],
                capture_output=True,
                timeout=_EXIFTOOL_SECONDS,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            break
        if done.stdout.startswith(b"\xff\xd8\xff"):
            found.append(done.stdout)
    return found


def _jpeg_photo(path: Path, data: bytes, flip: int, wide: bool) -> Photo | None:
    """Decode an embedded JPEG; None where it is damaged.

    Orientation: the JPEG's own tag, else the raw file's. Some cameras turn the JPEG's pixels and tag it all the same;
    ``wide``, whether the upright photo is wider than high, tells.
    """
    with tempfile.TemporaryDirectory(prefix="pixward-") as folder:
        part = Path(folder) / "embedded.jpg"
        part.write_bytes(data)
        try:
            file = decode.decode(part)
        except PixwardError:
            return None
    tags, orientation = exif.upright(file.exif)
    if tags is None:
        orientation = ORIENTATIONS.get(flip, 1)
    height, width = file.samples.shape[:2]
    if orientation >= 5 and (width >= height) == wide:
        orientation = 1
    pixels = upright(icc.to_srgb(file.samples, file.icc), orientation)
    return Photo(pixels, None, tags, file.icc, path)
