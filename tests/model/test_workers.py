"""Workers: started once, sent little, replaced when they die, and never another answer."""

import os
import pickle
import signal
from dataclasses import dataclass, replace

import cloudpickle
import joblib
import numpy as np
import pytest

from sunalign.exceptions import PluginError, WorkerError
from sunalign.metrics import NCC
from sunalign.model import workers as _workers
from sunalign.model.objective import Objective
from sunalign.model.workers import WorkerPool
from sunalign.optimizers import GridSearch, HillClimb, ScipyOptimizer
from sunalign.testing.helpers import run, small_problem

POINTS = np.array([[0.0, 0.0], [4.0, -4.0], [5.6, -4.4], [-9.0, 3.0], [1.0, 1.0]])


def pids():
    return set(_workers.reusable_executor(2)._processes)


@pytest.fixture
def pool():
    case = small_problem(noise=3.0)
    pool = WorkerPool(case.problem, 2)
    yield pool
    pool.close()


def with_metric(metric):
    case = small_problem(noise=3.0)
    return case._replace(problem=replace(case.problem, metric=metric))


# Others in the same process.


def test_joblib_can_be_used_afterwards_and_before():
    case = small_problem(noise=3.0)
    for _ in range(2):
        with case.objective(n_jobs=2) as objective:
            scores = objective.many(POINTS)
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-number) for number in range(4)) == [0, 1, 2, 3]
    with case.objective() as objective:
        assert list(scores) == list(objective.many(POINTS))


# The answer.


@pytest.mark.parametrize(
    ("optimizer", "fit"),
    [
        (HillClimb(), ("shift", "scale", "rotation")),
        (GridSearch(), "shift"),
        (ScipyOptimizer(method="differential_evolution", settings={"maxiter": 4}), ("shift", "scale")),
    ],
    ids=["hill-climb", "grid-search", "scipy"],
)
def test_same_answer_bit_for_bit_whatever_n_jobs(optimizer, fit):
    case = small_problem(fit=fit, noise=5.0, shape=(120, 150))
    found, tables = [], []
    for n_jobs in (1, 2):
        with case.objective(n_jobs=n_jobs) as objective:
            found.append(run(optimizer, objective, rng=3))
            tables.append(objective.history)
    one, two = found
    assert one.x.tobytes() == two.x.tobytes()
    assert (one.fun, one.nit, one.success) == (two.fun, two.nit, two.success)
    for name in tables[0].colnames:
        assert np.asarray(tables[0][name]).tobytes() == np.asarray(tables[1][name]).tobytes()


def test_scores_come_in_order_even_fewer_than_workers(pool):
    expected = [pool._problem.score(x) for x in POINTS]
    assert pool.scores(POINTS) == expected
    assert pool.scores(POINTS[:1]) == expected[:1]


def test_a_metric_of_a_script_or_notebook_travels():
    # Like those of a notebook, a local class cannot be imported by name.
    @dataclass(frozen=True)
    class Squared(NCC):
        power: int = 2

        def score(self, reference, target, mask):
            return super(type(self), self).score(reference, target, mask) ** self.power

    case = with_metric(Squared())
    with case.objective(n_jobs=2) as objective:
        assert objective.many(POINTS).tolist() == [case.problem.score(x) for x in POINTS]


def test_an_error_in_a_worker_is_the_plugins_own():
    class Broken(NCC):
        def score(self, reference, target, mask):
            raise KeyError("gone")

    with (
        with_metric(Broken()).objective(n_jobs=2) as objective,
        pytest.raises(PluginError, match="Broken failed in score"),
    ):
        objective.many(POINTS)


# What travels, and what stays.


def test_a_chunk_travels_as_a_kilobyte(pool):
    chunk = np.random.default_rng(0).normal(size=(10, 5))
    task = cloudpickle.dumps((_workers._score_chunk, pool._path(), pool.token, chunk))
    assert len(task) < 1024
    assert len(pickle.dumps(pool.scores(POINTS))) < 200


def test_workers_are_started_once_and_kept(pool):
    pool.scores(POINTS)
    before = pids()
    assert len(before) == 2
    assert os.getpid() not in before
    other = WorkerPool(pool._problem, 2)
    other.scores(POINTS)
    other.close()
    assert pids() == before


def test_workers_compute_with_one_thread(pool):
    pool.scores(POINTS)
    executor = _workers.reusable_executor(2)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        assert executor.submit(os.getenv, name).result() == "1"


def test_nothing_is_written_before_it_is_needed_and_nothing_left_behind():
    case = small_problem()
    with case.objective(n_jobs=2) as objective:
        objective(POINTS[0])
        assert objective._pool._folder is None
        objective.many(POINTS)
        folder = objective._pool._folder
        assert sorted(p.name for p in folder.iterdir()) == ["problem", "problem.pickle"]
    assert not folder.exists()
    objective.close()  # twice does no harm


def test_problem_comes_back_with_its_arrays_mapped(tmp_path):
    case = small_problem(noise=3.0)
    expected = [case.problem.score(x) for x in POINTS]
    _workers._write(case.problem, tmp_path / "problem")
    # The pickle itself holds no image.
    assert (tmp_path / "problem.pickle").stat().st_size < 20_000
    assert (tmp_path / "problem").stat().st_size > case.problem.target.data.nbytes
    read = _workers._read(str(tmp_path / "problem"))
    assert [read.score(x) for x in POINTS] == expected
    assert not read.target.data.flags.writeable
    assert not read.target.data.flags.owndata


def test_workers_keep_the_last_problems_only(monkeypatch, tmp_path):
    monkeypatch.setattr(_workers, "_PROBLEMS", {})
    _workers._write(small_problem().problem, tmp_path / "problem")
    for token in ("a", "b", "c"):
        _workers._score_chunk(str(tmp_path / "problem"), token, POINTS)
    assert list(_workers._PROBLEMS) == ["b", "c"]
    # A token that is known needs no file.
    _workers._score_chunk(str(tmp_path / "nowhere"), "c", POINTS)


# Workers that die.


class Interrupted(Objective):
    """Kills one worker before the second batch, or before every one."""

    kills = 0
    most = 1

    def many(self, points):
        if self.nfev > 10 and self.kills < self.most:
            victim = min(pids())
            os.kill(victim, signal.SIGKILL)
            self.kills += 1
        return super().many(points)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="There is no SIGKILL on this system.")
def test_a_killed_worker_is_replaced_and_the_answer_the_same():
    case = small_problem(fit=("shift", "scale"), noise=5.0)
    expected = run(HillClimb(), case.objective())
    with Interrupted(case.problem, case.space, n_jobs=2) as objective:
        found = run(HillClimb(), objective)
        assert objective.kills == 1
    assert found.x.tobytes() == expected.x.tobytes()
    assert found.fun == expected.fun


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="There is no SIGKILL on this system.")
def test_a_worker_that_always_dies_is_a_clear_error():
    home = os.getpid()

    class Deadly(NCC):
        def score(self, reference, target, mask):
            if os.getpid() != home:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().score(reference, target, mask)

    with (
        with_metric(Deadly()).objective(n_jobs=2) as objective,
        pytest.raises(WorkerError, match=r"Worker processes died twice, .* n_jobs=1"),
    ):
        objective.many(POINTS)
