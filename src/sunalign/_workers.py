"""Worker processes that keep the images, so that only parameters and scores travel.

joblib's loky executor is started once and reused by later alignments. The problem is written once to a file; a worker
maps it into memory when it meets its token for the first time and keeps the few last ones in a module-level cache.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from sunalign.exceptions import WorkerError

if TYPE_CHECKING:
    from sunalign.objective import Problem

__all__ = ["WorkerPool"]

# A worker computes with one thread: several of them with as many BLAS threads as cores would fight each other.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")}

_PROBLEMS: dict[str, Problem] = {}
_KEPT = 2


def _score_chunk(path: str, token: str, points: np.ndarray) -> list[float]:
    if token not in _PROBLEMS:
        while len(_PROBLEMS) >= _KEPT:
            _PROBLEMS.pop(next(iter(_PROBLEMS)))
        _PROBLEMS[token] = joblib.load(path, mmap_mode="r")
    problem = _PROBLEMS[token]
    return [problem.score(x) for x in points]


class WorkerPool:
    """Scores of one problem by several processes.

    Parameters
    ----------
    problem : `~sunalign.objective.Problem`
    n_jobs : `int`
        Number of processes.
    """

    def __init__(self, problem: Problem, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.token = uuid.uuid4().hex
        self._folder = tempfile.mkdtemp(prefix="sunalign-")
        self._path = str(Path(self._folder) / "problem.joblib")
        joblib.dump(problem, self._path)

    def scores(self, points: np.ndarray) -> list[float]:
        """Scores of points of shape (n, p), in order."""
        try:
            return self._submit(points)
        except BrokenProcessPool:
            # One worker may be killed by chance (memory, an operator); twice is no chance.
            try:
                return self._submit(points)
            except BrokenProcessPool as error:
                raise WorkerError(
                    "Worker processes died twice, most likely for want of memory. Use fewer with n_jobs, or n_jobs=1; "
                    'in a script, call sunalign under: if __name__ == "__main__".'
                ) from error

    def _submit(self, points: np.ndarray) -> list[float]:
        executor = get_reusable_executor(max_workers=self.n_jobs, env=_ONE_THREAD, timeout=300)
        chunks = np.array_split(points, min(self.n_jobs, len(points)))
        futures: list[Any] = [executor.submit(_score_chunk, self._path, self.token, chunk) for chunk in chunks]
        return [score for future in futures for score in future.result()]

    def close(self) -> None:
        """Remove the file. Workers that have mapped it keep their view."""
        shutil.rmtree(self._folder, ignore_errors=True)
