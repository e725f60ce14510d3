"""The same code on a real cluster of dask: two workers, two processes, one of which is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest

import sunalign
from sunalign import registry
from sunalign.archive import _dask, read_manifest
from sunalign.archive._plan import Settings, plan_tasks
from sunalign.archive._store import Store
from sunalign.exceptions import ArchiveError

distributed = pytest.importorskip("distributed")

HERE = Path(__file__).parent


@pytest.fixture
def cluster(monkeypatch):
    """Workers that know the faulty plugin."""
    monkeypatch.syspath_prepend(HERE)
    registry.clear_cache()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
        ) as made,
        distributed.Client(made, set_as_default=True) as client,
    ):
        client.wait_for_workers(2, timeout=120)
        yield made
    monkeypatch.undo()
    registry.clear_cache()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of distributed, about its own dependencies
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of distributed, whose sockets are closed late
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_cluster_one_of_whose_workers_is_killed(cluster, archive):
    flag = archive.folder / "flag"
    archive.rows[1] |= {"optimizer": "faulty", "how": "wait", "flag": flag}
    archive.write()
    killed = []

    def kill():
        while not flag.exists():
            time.sleep(0.01)
        # The one that waits is in the middle of its task.
        killed.append(Store(archive.out).claimed("t1").pid)
        Path(f"{flag}.go").touch()
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with joblib.parallel_config("dask"):
        table = archive.run()
    thread.join(10)
    assert killed
    assert killed[0] != os.getpid()
    assert set(table["state"]) <= {"done", "interrupted"}
    with joblib.parallel_config("dask"):
        table = archive.run()
    assert set(table["state"]) == {"done"}
    # Without a cluster it is the same.
    archive.out = archive.folder / "alone"
    np.testing.assert_array_equal(table["shift_x"], archive.run()["shift_x"])


@pytest.mark.slow
def test_a_task_that_hangs_on_a_cluster(cluster, archive):
    """In a thread, which no signal reaches: its worker is ended, and the scheduler starts another."""
    archive.rows[1] |= {"optimizer": "faulty", "how": "hang"}
    archive.write()
    with joblib.parallel_config("dask"):
        table = archive.run(timeout=5)
    assert archive.states(table) == {f"t{k}": "failed" if k == 1 else "done" for k in range(5)}
    assert table["error"][1] == "TimeoutError"
    assert table["message"][1] == "It took longer than the timeout of 5 s, and its process was ended."


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tasks_that_kill_their_workers_beside_others(cluster, archive):
    """The scheduler gives up what lies at workers that die again and again, and joblib would wait for it for ever."""
    kinds = {"die": "interrupted", "die_once": "done", "hang": "failed", "hang_hard": "failed", "divide": "failed"}
    for kind in kinds:
        row = {"id": kind, "target": "t0.fits", "references": "r0.fits", "optimizer": "faulty", "how": kind}
        archive.rows.append(row | {"flag": archive.folder / "flag"})
    archive.write()
    with joblib.parallel_config("dask"):
        table = archive.run(timeout=5)
    assert archive.states(table) == {f"t{k}": "done" for k in range(5)} | kinds


class Ended:
    """Futures that have ended, and more of them while they are gone through."""

    def __init__(self):
        self.futures = []

    def add(self, future):
        self.futures.append(future)

    def __iter__(self):
        while self.futures:
            yield self.futures.pop(0)


class Client:
    """A client whose scheduler gives tasks up, or goes away when it should do one."""

    status = "running"

    def __init__(self, given_up=(), last=None):
        self.given_up, self.last = list(given_up), last
        self.begun, self.cancelled = [], []

    def submit(self, function, text, pure):
        assert not pure
        name = json.loads(text)["id"]
        self.begun.append(name)
        lost = name in self.given_up or self.status != "running"
        if lost and name in self.given_up:
            self.given_up.remove(name)
        if name == self.last:
            self.status, lost = "connecting", True
        return Future(name, None if lost else function(text))

    def cancel(self, futures):
        self.cancelled = [future.name for future in futures]


class Future:
    def __init__(self, name, answer):
        self.name, self.status, self.result = name, "error" if answer is None else "finished", lambda: answer


def jobs_of(archive):
    store = Store(archive.out)
    store.prepare()
    manifest = read_manifest(archive.manifest, {"default": {"fit": "shift"}})
    return [plan.job for plan in plan_tasks(manifest, store, Settings())]


def test_what_the_scheduler_gives_up_is_lost(archive, monkeypatch):
    monkeypatch.setattr(distributed, "as_completed", Ended)
    monkeypatch.setattr(_dask, "_AHEAD", 2)
    client = Client(["t1", "t4"])
    found = [(answer["id"], answer["state"]) for answer in _dask.on_cluster(jobs_of(archive), client)]
    assert found == [("t0", "done"), ("t1", "lost"), ("t2", "done"), ("t3", "done"), ("t4", "lost")]
    assert client.cancelled == []


def test_what_is_no_longer_wanted_is_cancelled(archive, monkeypatch):
    monkeypatch.setattr(distributed, "as_completed", Ended)
    client = Client()
    found = _dask.on_cluster(jobs_of(archive), client)
    next(found)
    found.close()
    assert client.cancelled == ["t1", "t2", "t3", "t4"]


def test_a_scheduler_that_goes_away(archive, monkeypatch):
    """What was done stays done, and the words say what to do."""
    monkeypatch.setattr(distributed, "as_completed", Ended)
    monkeypatch.setattr(_dask, "_AHEAD", 1)
    found = _dask.on_cluster(jobs_of(archive), Client(last="t1"))
    assert next(found)["id"] == "t0"
    with pytest.raises(ArchiveError, match=r"The dask scheduler is gone\. What was done stays done; run it again"):
        next(found)


@pytest.mark.slow
def test_the_command_hands_its_tasks_to_a_scheduler(cluster, archive, capsys):
    from sunalign.cli import main

    begun = time.time()
    code = main(["archive", str(archive.manifest), "--out", str(archive.out), "--dask", cluster.scheduler_address])
    said = capsys.readouterr()
    assert code in (0, 3), said.err
    assert "5 done" in said.out
    hosts = {Store(archive.out).read(f"t{k}")["run"] for k in range(5)}
    assert len(hosts) == 1
    assert time.time() > begun


def test_no_scheduler(archive, capsys, monkeypatch):
    from sunalign.archive import command
    from sunalign.cli import main

    monkeypatch.setattr(command, "_PATIENCE", "1s")

    assert main(["archive", str(archive.manifest), "--out", str(archive.out), "--dask", "tcp://127.0.0.1:1"]) == 1
    assert "No dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_script_of_the_documentation_runs_as_it_is(archive):
    script = HERE.parents[1] / "docs" / "examples" / "archive_on_dask.py"
    (archive.folder / "presets.yaml").write_text("default: {fit: shift, max_shift: 60arcsec}\n")
    source = str(Path(sunalign.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, script, archive.manifest, archive.folder / "presets.yaml", archive.out],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done 5\n"
