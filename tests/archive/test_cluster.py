"""The same code on a real cluster of dask: two workers, two processes, one of which is killed."""

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
from sunalign.archive._store import Store

distributed = pytest.importorskip("distributed")

HERE = Path(__file__).parent


@pytest.fixture
def cluster(monkeypatch):
    """Workers that know the faulty plugin."""
    monkeypatch.syspath_prepend(HERE)
    registry.clear_cache()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
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
