"""Worker processes that keep the images, so that only parameters and scores travel.

joblib's loky executor is started once and reused by later alignments. The problem is written to a file when the first
scores are asked for; a worker maps it into memory when it meets its token and keeps the few last ones in a module-level
cache, so that a chunk of candidates travels as about a kilobyte. Chunks go straight to the executor:
`joblib.Parallel` would sleep for ten milliseconds a call.
"""

from __future__ import annotations

import mmap
import pickle
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sunpy import log

from sunalign.exceptions import WorkerError

if TYPE_CHECKING:
    from sunalign.model.problem import Problem

__all__ = ["WorkerPool"]

# A worker computes with one thread: several of them with as many BLAS threads as cores would fight each other.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")}

_ALIGNMENT = 64  # Bytes: what the widest vector instructions like.
_IDLE = 300  # Seconds after which workers without work end.

_PROBLEMS: dict[str, Problem] = {}
_KEPT = 2


class WorkerPool:
    """Scores of one problem by several processes.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    n_jobs : `int`
        Number of processes.
    """

    def __init__(self, problem: Problem, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.token = uuid.uuid4().hex
        self._problem = problem
        self._folder: Path | None = None
        self._replaced = False

    def scores(self, points: np.ndarray) -> list[float]:
        """Scores of points, in order.

        Parameters
        ----------
        points : `numpy.ndarray`, shape (n, p)
        """
        from joblib.externals.loky.process_executor import BrokenProcessPool

        path = self._path()
        try:
            return self._submit(path, points)
        except BrokenProcessPool as error:
            # One worker may be killed by chance (memory, an operator); twice is no chance.
            if self._replaced:
                raise WorkerError(_DIED) from error
            self._replaced = True
            log.info("A worker process died; the workers are started again and its candidates scored once more.")
        try:
            return self._submit(path, points)
        except BrokenProcessPool as error:
            raise WorkerError(_DIED) from error

    def _submit(self, path: str, points: np.ndarray) -> list[float]:
        executor = reusable_executor(self.n_jobs)
        chunks = np.array_split(points, min(self.n_jobs, len(points)))
        futures: list[Any] = [executor.submit(_score_chunk, path, self.token, chunk) for chunk in chunks]
        return [score for future in futures for score in future.result()]

    def _path(self) -> str:
        # Only now: an optimizer that never asks for many scores at once needs neither file nor workers.
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sunalign-"))
            _write(self._problem, self._folder / "problem")
        return str(self._folder / "problem")

    def close(self) -> None:
        """Remove the file. Workers that have mapped it keep their view."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


_DIED = (
    "Worker processes died twice, most likely for want of memory. Use fewer with n_jobs, or n_jobs=1; "
    'in a script, call sunalign under: if __name__ == "__main__".'
)


def reusable_executor(n_jobs: int) -> Any:
    """Return the workers that are there, or new ones where there are none or they broke.

    Parameters
    ----------
    n_jobs : `int`
        How many processes.
    """
    # loky has one executor for the whole process. One of loky's own making has not what `joblib.Parallel`, which may be
    # the next to use it, wants of it.
    from joblib.executor import get_memmapping_executor

    return get_memmapping_executor(n_jobs, env=_ONE_THREAD, timeout=_IDLE)


def _score_chunk(path: str, token: str, points: np.ndarray) -> list[float]:
    if token not in _PROBLEMS:
        while len(_PROBLEMS) >= _KEPT:
            _PROBLEMS.pop(next(iter(_PROBLEMS)))
        _PROBLEMS[token] = _read(path)
    problem = _PROBLEMS[token]
    return [problem.score(x) for x in points]


def _write(problem: Problem, path: Path) -> None:
    """Pickle with the arrays outside of it, where they can be mapped. cloudpickle knows plugins of a notebook too."""
    try:
        import cloudpickle
    except ImportError:
        # joblib carried its own copy before it came to depend on it.
        from joblib.externals import cloudpickle

    buffers: list[pickle.PickleBuffer] = []
    body = cloudpickle.dumps(problem, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    starts, end = [], 0
    for view in views:
        starts.append(end)
        end += -(-view.nbytes // _ALIGNMENT) * _ALIGNMENT
    with path.open("wb") as file:
        for start, view in zip(starts, views, strict=True):
            file.seek(start)
            file.write(view)
    index = [(start, view.nbytes) for start, view in zip(starts, views, strict=True)]
    path.with_suffix(".pickle").write_bytes(pickle.dumps((body, index)))


def _read(path: str) -> Problem:
    body, index = pickle.loads(Path(path).with_suffix(".pickle").read_bytes())
    arrays = Path(path)
    if arrays.stat().st_size == 0:
        return pickle.loads(body, buffers=[b""] * len(index))
    with arrays.open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return pickle.loads(body, buffers=[mapped[start : start + size] for start, size in index])
