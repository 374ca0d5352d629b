"""The folder of one training run: its log, its checkpoint, and how to go on after a stop.

::

    folder/log.jsonl       one JSON object a line, in the order of the steps
    folder/checkpoint.pt   the newest checkpoint, always whole: written beside and renamed
    folder/events...       the same figures for TensorBoard, where it is installed

A run may be killed at any moment. The next start finds a whole checkpoint, cuts the log back to it, restores the random
number generators and so repeats the lost steps exactly.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixward.errors import PixwardError


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's (every device's) global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from the global one
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The states of all global generators, as plain numbers and tensors."""
    version, words, gauss = random.getstate()
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002
    # Checkpoints load without pickle's dangers, so they hold no NumPy arrays.
    inner = {"key": legacy["state"]["key"].tolist(), "pos": legacy["state"]["pos"]}
    return {
        "python": [version, list(words), gauss],
        "numpy": {**legacy, "state": inner},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore what :func:`rng_state` gave; states of GPUs that are not here are passed over."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    legacy = state["numpy"]
    key = np.array(legacy["state"]["key"], dtype=np.uint32)
    np.random.set_state({**legacy, "state": {**legacy["state"], "key": key}})  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that a stop cut short is passed over.

    Raises:
        PixwardError: a line before the last is damaged.
    """
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            # What follows the last line break is empty, or cut short.
            if number < len(lines):
                raise PixwardError(f"{path}: line {number} is not JSON; delete that line to go on") from None
    return rows


class Run:
    """One run's folder.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: Path | str, *, resume: bool = False, tensorboard: bool = True) -> None:
        """Open ``folder`` (created if missing), for a new run or to go on with the one in it.

        Raises:
            PixwardError: it holds a run and ``resume`` is False, or it cannot be written.
        """
        self.folder = Path(folder)
        self._log_path, self._checkpoint_path = self.folder / "log.jsonl", self.folder / "checkpoint.pt"
        if not resume and (self._log_path.exists() or self._checkpoint_path.exists()):
            raise PixwardError(f"{self.folder} holds a run already: resume it (--resume) or choose another folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._log = self._log_path.open("ab")
        except OSError as error:
            raise PixwardError(f"cannot write the run folder {self.folder}: {error.strerror}") from None
        self._tensorboard = tensorboard
        self._writer: Any = None
        self._drop_half_line()

    def log(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """Append one line, ``{"step": step, **values}``, and flush it.

        Raises:
            PixwardError: the disk refuses.
        """
        line = json.dumps({"step": step, **values}) + "\n"
        try:
            self._log.write(line.encode())
            self._log.flush()
        except OSError as error:
            raise PixwardError(f"cannot write {self._log_path}: {error.strerror}") from None
        self._log_tensorboard(step, values)

    def show(self, step: int, name: str, picture: np.ndarray) -> None:
        """Put a picture ``(H, W, 3)`` uint8 into TensorBoard, where that is installed."""
        writer = self._board(step)
        if writer is not None:
            writer.add_image(name, picture, step, dataformats="HWC")

    def save(self, state: Mapping[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, strings, lists, dicts) and the generators' states as the checkpoint.

        The old checkpoint stays until the new one is whole on disk, so a stop at any moment leaves one or the other.

        Raises:
            PixwardError: the disk refuses; the old checkpoint is still there.
        """
        partial = self._checkpoint_path.with_name(f".{self._checkpoint_path.name}.part")
        content = {"state": dict(state), "rng": rng_state(), "log_bytes": self._log.tell()}
        try:
            with partial.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._checkpoint_path)
        except (OSError, RuntimeError) as error:
            # torch wraps a full disk in RuntimeError.
            raise PixwardError(f"cannot write the checkpoint {self._checkpoint_path}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The state last saved, its tensors on the CPU, or None if there is none.

        Restores the generators and cuts the log back to that moment, or, without a checkpoint, to a first line of step
        0: how things stood before the first update.

        Raises:
            PixwardError: the checkpoint is damaged.
        """
        if not self._checkpoint_path.exists():
            self._cut_log(self._before())
            return None
        try:
            content = torch.load(self._checkpoint_path, map_location="cpu", weights_only=True)
            state, rng, log_bytes = content["state"], content["rng"], content["log_bytes"]
        except Exception as error:
            # A damaged file may raise anything.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PixwardError(
                f"{self._checkpoint_path} is no whole checkpoint ({reason}); delete it to start over"
            ) from None
        set_rng_state(rng)
        self._cut_log(log_bytes)
        return dict(state)

    def close(self) -> None:
        """Close the log; also done by ``with Run(...) as run``."""
        self._log.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut_log(self, size: int) -> None:
        if self._log_path.stat().st_size > size:
            self._log.truncate(size)
        self._log.seek(0, os.SEEK_END)

    def _before(self) -> int:
        """Bytes of the first line, if it is of step 0."""
        line = self._log_path.read_bytes().partition(b"\n")[0]
        try:
            return len(line) + 1 if json.loads(line)["step"] == 0 else 0
        except (ValueError, KeyError, TypeError):
            return 0

    def _drop_half_line(self) -> None:
        """A line cut short by a kill would swallow the next one."""
        content = self._log_path.read_bytes()
        self._cut_log(content.rfind(b"\n") + 1)

    def _log_tensorboard(self, step: int, values: Mapping[str, float | int | str]) -> None:
        writer = self._board(step)
        for name, value in values.items() if writer is not None else ():
            if not isinstance(value, str):
                writer.add_scalar(name, value, step)

    def _board(self, step: int) -> Any:
        """TensorBoard's writer, which drops what an earlier run wrote from ``step`` on; None without TensorBoard."""
        if self._writer is None and self._tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                # Optional by design: the JSON lines hold everything.
                self._tensorboard = False
                return None
            self._writer = SummaryWriter(str(self.folder), purge_step=step)
        return self._writer
