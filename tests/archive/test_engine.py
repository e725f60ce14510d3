"""Every task is answered once, whatever becomes of the workers."""

import json
import subprocess
import sys

import joblib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joblib.externals.loky.process_executor import BrokenProcessPool

from sunalign.archive import _engine, read_manifest
from sunalign.archive._engine import answers
from sunalign.archive._plan import Settings, plan_tasks
from sunalign.archive._store import Store
from sunalign.archive._task import Job, run_task
from sunalign.exceptions import ArchiveError


@pytest.fixture(scope="module")
def dead():
    """Number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def jobs_of(out, names, **options):
    return [Job(name, "t", ("r",), "", {}, str(out), "run", f"key {name}", (), **options) for name in names]


class Pool:
    """Workers as they are seen from outside: some tasks kill theirs, and then the others are ended too."""

    def __init__(self, store, killers, width, dead):
        self.store, self.killers, self.width, self.dead = store, killers, width, dead
        self.begun = []

    def __call__(self, batch, n_jobs):
        for k, job in enumerate(batch):
            self.begun.append(job.id)
            if job.id in self.killers:
                self.killers[job.id] -= 1
                if self.killers[job.id] >= 0:
                    for fallen in batch[k : k + self.width]:
                        self._leave(fallen)
                    raise BrokenProcessPool
            self._done(job)
            yield {"id": job.id, "state": "done", "message": ""}

    def _leave(self, job):
        claim = self.store.claim(job.id, job.run)
        self.store.path("claim", job.id, "").write_text(json.dumps(claim.__dict__ | {"pid": self.dead}))

    def _done(self, job):
        self.store.release(self.store.claim(job.id, job.run))


@given(
    killers=st.dictionaries(st.integers(0, 11).map(str), st.integers(1, 3), max_size=8),
    width=st.integers(1, 4),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_task_is_answered_once_and_the_guilty_are_found(tmp_path_factory, monkeypatch, dead, killers, width):
    store = Store(tmp_path_factory.mktemp("out"))
    store.prepare()
    pool = Pool(store, dict(killers), width, dead)
    monkeypatch.setattr(_engine, "_once", pool)
    names = [str(k) for k in range(12)]
    found = list(answers(jobs_of(store.out, names), store, 2))
    assert sorted(answer["id"] for answer in found) == sorted(names)
    states = {answer["id"]: answer["state"] for answer in found}
    # One death may be chance; whoever dies again, alone, is guilty. A neighbour may have died with another before.
    for name in names:
        deaths = killers.get(name, 0)
        assert states[name] == "done" if deaths == 0 else True
        if deaths >= 2:
            assert states[name] == "interrupted"
            assert store.read(name)["held"]
    assert not store.claims()


def test_workers_that_die_before_they_begin_are_no_use(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.prepare()

    def die(batch, n_jobs):
        raise BrokenProcessPool
        yield

    monkeypatch.setattr(_engine, "_once", die)
    with pytest.raises(ArchiveError, match=r"The workers died 4 times before they began a task; 3 tasks are left\."):
        list(answers(jobs_of(tmp_path, "abc"), store, 2))


def test_what_a_scheduler_gave_up_is_begun_again(tmp_path, monkeypatch):
    """It gives up whatever lay at workers that died, not only what killed them."""
    store = Store(tmp_path)
    store.prepare()
    rounds = []

    def give_up(batch, n_jobs):
        rounds.append([job.id for job in batch])
        for job in batch:
            lost = job.id in "bc"[: 3 - len(rounds)]
            yield {"id": job.id, "state": "lost" if lost else "done", "message": ""}

    monkeypatch.setattr(_engine, "_once", give_up)
    found = list(answers(jobs_of(tmp_path, "abcd"), store, None))
    assert [(answer["id"], answer["state"]) for answer in found] == [(name, "done") for name in "adcb"]
    assert rounds == [["a", "b", "c", "d"], ["b", "c"], ["b"]]


def test_a_scheduler_that_gives_everything_up_is_no_use(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.prepare()
    monkeypatch.setattr(
        _engine, "_once", lambda batch, n_jobs: iter([{"id": job.id, "state": "lost", "message": ""} for job in batch])
    )
    with pytest.raises(ArchiveError, match=r"The workers died 4 times before they began a task; 2 tasks are left\."):
        list(answers(jobs_of(tmp_path, "ab"), store, None))


def test_who_died_late_has_failed_and_who_died_early_has_not(tmp_path, monkeypatch, dead):
    store = Store(tmp_path)
    store.prepare()
    rounds = []

    def hang(batch, n_jobs):
        rounds.append([job.id for job in batch])
        if len(rounds) == 1:
            for job, deadline in zip(batch, (1.0, 1e12), strict=True):
                claim = store.claim(job.id, job.run, deadline)
                store.path("claim", job.id, "").write_text(json.dumps(claim.__dict__ | {"pid": dead}))
            raise BrokenProcessPool
        for job in batch:
            store.release(store.claim(job.id, job.run))
            yield {"id": job.id, "state": "done", "message": ""}

    monkeypatch.setattr(_engine, "_once", hang)
    found = {answer["id"]: answer for answer in answers(jobs_of(tmp_path, "ab", timeout=5.0), store, 2)}
    assert found["a"]["state"] == "failed"
    assert found["a"]["message"] == "It took longer than the timeout of 5 s, and its process was ended."
    assert store.read("a")["error"] == "TimeoutError"
    assert found["b"]["state"] == "done"
    assert rounds == [["a", "b"], ["b"]]


def test_what_another_run_does_is_waited_for(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.prepare()
    looks = []

    def elsewhere(batch, n_jobs):
        for job in batch:
            if looks:
                yield {"id": job.id, "state": "done", "message": "here"}
            else:
                yield {"id": job.id, "state": "elsewhere", "message": ""}

    other = {name: store.claim(name, run="other") for name in "ab"}

    def sleep(_):
        # Meanwhile the other run does one of them, and leaves the other.
        looks.append(1)
        store.write("a", {"key": "key a", "state": "doubtful", "message": "there"})
        for claim in other.values():
            store.release(claim)

    monkeypatch.setattr(_engine, "_once", elsewhere)
    monkeypatch.setattr(_engine.time, "sleep", sleep)
    found = {answer["id"]: answer for answer in answers(jobs_of(tmp_path, "ab"), store, 1)}
    assert found["a"] == {"id": "a", "state": "doubtful", "message": "there"}
    assert found["b"] == {"id": "b", "state": "done", "message": "here"}
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("n_jobs", "timeout", "expected"),
    [
        (None, None, {}),
        (1, None, {"n_jobs": 1}),
        (3, None, {"n_jobs": 3}),
        # What hangs has to be ended, and this process is not to be.
        (None, 5.0, {"n_jobs": 2, "pre_dispatch": 1, "batch_size": 1}),
        (1, 5.0, {"n_jobs": 2, "pre_dispatch": 1, "batch_size": 1}),
    ],
)
def test_how_many_workers(tmp_path, n_jobs, timeout, expected):
    with _engine._backend(jobs_of(tmp_path, "a", timeout=timeout), n_jobs) as options:
        assert options == expected


def test_what_joblib_is_told_counts(tmp_path):
    jobs = jobs_of(tmp_path, "a")
    with joblib.parallel_config("loky", n_jobs=3), _engine._backend(jobs, None) as options:
        assert options == {}
        assert joblib.Parallel(**options).n_jobs == 3
    with joblib.parallel_config("threading", n_jobs=2), _engine._backend(jobs, None) as options:
        assert joblib.Parallel(**options).n_jobs == 2


def test_two_workers_find_what_one_finds(archive):
    one = archive.run()
    archive.out = archive.folder / "two"
    two = archive.run(n_jobs=2)
    for name in ("id", "state", "shift_x", "shift_y_error", "score", "message"):
        assert list(one[name]) == list(two[name])
    with joblib.parallel_config("threading", n_jobs=2):
        archive.out = archive.folder / "threads"
        three = archive.run()
    assert list(one["shift_x"]) == list(three["shift_x"])


def test_workers_that_were_started_elsewhere(archive, monkeypatch, tmp_path_factory):
    """A relative output is that of the run, and not one below each worker's own directory."""
    monkeypatch.chdir(archive.folder)
    store = Store("out")
    store.prepare()
    (job, *_) = [
        plan.job
        for plan in plan_tasks(read_manifest(archive.manifest, {"default": {"fit": "shift"}}), store, Settings())
    ]
    other = tmp_path_factory.mktemp("other")
    monkeypatch.chdir(other)
    assert json.loads(run_task(job.text()))["state"] == "done"
    assert (archive.out / "tasks" / "t0.json").exists()
    assert not any(other.iterdir())


def test_a_worker_that_does_not_see_the_output(archive, monkeypatch):
    from sunalign.archive import _run

    monkeypatch.setattr(_run, "prepare", lambda store: store.folder("record").mkdir(parents=True))
    with pytest.raises(ArchiveError, match=r"it is not there for the worker on .*, which has to see"):
        archive.run()
