"""Whatever ends a task or a run: what was done stays done, the rest is named, and the next run goes on."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sunalign import archive as archives
from sunalign.archive import read_results
from sunalign.archive._store import Store
from sunalign.exceptions import ArchiveError

HERE = Path(__file__).parent

PRESETS = "default: {fit: shift, max_shift: 60arcsec}\n"


def command(archive, *options, n_jobs=None):
    (archive.folder / "presets.yaml").write_text(PRESETS)
    jobs = [] if n_jobs is None else ["--n-jobs", str(n_jobs)]
    return [
        sys.executable,
        "-m",
        "sunalign",
        "archive",
        archive.manifest,
        "--out",
        archive.out,
        "--presets",
        archive.folder / "presets.yaml",
        *jobs,
        *options,
    ]


def environment():
    paths = [str(HERE), str(Path(archives.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def start(archive, *options, n_jobs=None, **more):
    return subprocess.Popen(
        list(map(str, command(archive, *options, n_jobs=n_jobs))),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def run(archive, *options, n_jobs=None, timeout=300):
    with start(archive, *options, n_jobs=n_jobs) as process:
        out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not come to pass."
        time.sleep(0.02)


def sound(out):
    """Every file of an output is whole, and nothing of a process that has ended is left."""
    for path in (out / "tasks").glob("*.json"):
        if not path.name.startswith("."):
            assert json.loads(path.read_text())["task"]["state"] in ("done", "interrupted")
    for path in (out / "corrected").glob("[!.]*.fits"):
        assert path.stat().st_size % 2880 == 0
    for name in ("results.ecsv", "index.html"):
        if (out / name).exists():
            assert (out / name).read_text().rstrip().endswith(("</html>", '"', "."))


# Plugins that misbehave.


@pytest.mark.slow
def test_plugins_that_hang_die_exit_or_divide_by_zero(archive):
    kinds = {
        "hang": "failed",
        "hang_hard": "failed",
        "exit": "failed",
        "divide": "failed",
        "die_once": "done",
        "die": "interrupted",
    }
    for kind in kinds:
        row = {"id": kind, "target": "t0.fits", "references": "r0.fits", "optimizer": "faulty", "how": kind}
        archive.rows.append(row | {"flag": archive.folder / "flag"})
    archive.write()
    code, out, err = run(archive, "--timeout", "5s", n_jobs=2)
    assert code == 5, err
    table = read_results(archive.out)
    assert archive.states(table) == {f"t{k}": "done" for k in range(5)} | kinds
    said = {str(row["id"]): (str(row["error"]), str(row["message"])) for row in table}
    assert said["hang"] == ("TimeoutError", "It took longer than the timeout of 5 s.")
    assert said["hang_hard"] == ("TimeoutError", "It took longer than the timeout of 5 s, and its process was ended.")
    assert said["exit"] == ("SystemExit", "enough")
    assert "ZeroDivisionError" in said["divide"][1]
    assert "Its worker died, twice" in said["die"][1]
    assert "die: interrupted" in out
    # What kills workers is not tried again until it is asked for; nor is what failed.
    before = archive.written()
    code, out, err = run(archive, n_jobs=2)
    assert code == 5, err
    assert archive.written() == before


# Killed at any moment.


@pytest.mark.parametrize("moment", [pytest.param(k, marks=[] if k < 2 else pytest.mark.slow) for k in range(20)])
def test_killed_at_a_random_moment(archive, moment):
    dice = random.Random(moment)
    delay = dice.uniform(0, 1.5)
    with start(archive, n_jobs=dice.choice([1, 2]), start_new_session=True) as process:
        wait_for(lambda: (archive.out / "claims").exists() or process.poll() is not None)
        time.sleep(delay)
        # The whole of it, workers too, as when a machine loses its power.
        os.killpg(process.pid, signal.SIGKILL)
    sound(archive.out)
    table = archive.run()
    assert archive.states(table) == dict.fromkeys([f"t{k}" for k in range(5)], "done")
    assert not any((archive.out / "claims").iterdir())
    untouched = archive.folder / "untouched"
    archive.out = untouched
    np.testing.assert_array_equal(table["shift_x"], archive.run()["shift_x"])


def waiting(archive, number):
    """Let a task wait until it is told to go on."""
    flag = archive.folder / f"flag{number}"
    archive.rows[number] |= {"optimizer": "faulty", "how": "wait", "flag": flag}
    return flag


@pytest.mark.parametrize(
    ("sent", "n_jobs"),
    [
        (signal.SIGINT, 1),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow),
    ],
)
def test_stopped_by_hand_or_by_a_queue(archive, sent, n_jobs):
    flag = waiting(archive, 2)
    archive.write()
    with start(archive, n_jobs=n_jobs) as process:
        wait_for(lambda: flag.exists() and (n_jobs == 1 or (archive.out / "tasks" / "t4.json").exists()))
        process.send_signal(sent)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "sunalign: interrupted"
    states = archive.states(read_results(archive.out))
    rest = "waiting" if n_jobs == 1 else "done"
    assert states == {"t0": "done", "t1": "done", "t2": "interrupted", "t3": rest, "t4": rest}
    Path(f"{flag}.go").touch()
    code, _, err = run(archive)
    assert code == 0, err
    assert set(read_results(archive.out)["state"]) == {"done"}


# Two at once.


def test_two_runs_at_once_share_the_work(archive):
    flags = [waiting(archive, 0), waiting(archive, 1)]
    archive.write()
    with start(archive) as first, start(archive) as second:
        # Each holds one task, so that both are at work.
        wait_for(lambda: all(flag.exists() for flag in flags))
        for flag in flags:
            Path(f"{flag}.go").touch()
        said = [process.communicate(timeout=120) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert all("5 done" in out for out, _ in said)
    sound(archive.out)
    runs = [json.loads((archive.out / "tasks" / f"t{k}.json").read_text())["task"]["run"] for k in range(5)]
    assert len(set(runs)) == 2
    assert set(read_results(archive.out)["state"]) == {"done"}
    assert not any((archive.out / "claims").iterdir())


# A full disk.


def full_disk_says(archive, **options):
    with pytest.raises(ArchiveError) as caught:
        archive.run(**options)
    assert re.search(
        r"cannot be written: No space left on device.*\. \d of 5 tasks were ended\. See to that",
        str(caught.value),
    )


def test_full_disk(archive, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    mount = shutil.which("mount")
    if (
        mount is None
        or os.geteuid() != 0
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=200k", "none", disk], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("No small disk can be had here.")
    try:
        archive.out = disk / "out"
        full_disk_says(archive)
        records = sorted(path.name for path in (archive.out / "tasks").iterdir())
        assert 0 < len(records) < 5
        sound(archive.out)
        done = archive.written()
        assert not [name for name in done if "/." in name or name.startswith("claims")]
        subprocess.run([mount, "-o", "remount,size=4m", disk], check=True)
        table = archive.run()
        assert set(table["state"]) == {"done"}
        assert all(archive.written()[f"tasks/{name}"] == done[f"tasks/{name}"] for name in records)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_full_disk_by_a_writer_that_fails(archive, monkeypatch):
    from sunalign.files import output

    sync, calls = output._sync, []

    def fail(path):
        calls.append(path)
        if len(calls) > 12:
            raise OSError(28, "No space left on device", str(path))
        sync(path)

    monkeypatch.setattr(output, "_sync", fail)
    full_disk_says(archive)
    monkeypatch.undo()
    done = archive.written()
    assert 0 < len([name for name in done if name.startswith("tasks")]) < 5
    assert set(archive.run()["state"]) == {"done"}
    assert all(archive.written()[name] == when for name, when in done.items() if name.startswith("tasks"))


# Claims.


def test_a_claim_is_had_by_one(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    mine = store.claim("a", run="one")
    assert store.holds(mine)
    assert store.claim("a", run="two") is None
    store.release(mine)
    assert not store.holds(mine)
    assert store.claim("a", run="two").run == "two"


def test_a_claim_of_the_dead_is_taken_over(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    alive = store.claim("a", run="one")
    (tmp_path / "claims" / "a").write_text(json.dumps(alive.__dict__ | {"pid": process.pid}))
    dead = store.claimed("a")
    assert dead.run == "one"
    assert not store.is_alive(dead)
    mine = store.claim("a", run="two")
    assert mine.attempt == 1
    # What was taken over is not given back by its old owner.
    store.release(dead)
    assert store.holds(mine)


def test_a_number_that_another_process_has_now_is_no_sign_of_life(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    mine = store.claim("a", run="one")
    assert store.is_alive(mine)
    from dataclasses import replace

    assert not store.is_alive(replace(mine, born="1"))


def test_a_claim_of_another_machine_lives_as_long_as_it_beats(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    mine = store.claim("a", run="one")
    path = tmp_path / "claims" / "a"
    path.write_text(json.dumps(mine.__dict__ | {"host": "elsewhere"}))
    assert store.is_alive(store.claimed("a"))
    assert store.claim("a", run="two") is None
    # Silent for long; or with a beat yet to come, since the clock was set back.
    for away in (1000, -1000):
        os.utime(path, (time.time() - away,) * 2)
        assert not store.is_alive(store.claimed("a"))
    assert store.claim("a", run="two") is not None


def test_the_same_run_takes_over_and_counts(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    first = store.claim("a", run="one")
    second = store.claim("a", run="one")
    assert (first.attempt, second.attempt) == (1, 2)
    assert not store.holds(first)


def test_a_torn_claim_is_none(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    path = tmp_path / "claims" / "a"
    path.write_text('{"id": "a"')
    # It may be in the writing.
    assert store.claim("a", run="one") is None
    os.utime(path, (time.time() - 60,) * 2)
    assert store.claim("a", run="one") is not None


def test_whoever_lost_its_claim_does_not_write(archive, monkeypatch):
    from sunalign.archive import _task

    perform = _task._perform

    def robbed(job, store, record):
        (archive.out / "claims" / job.id).unlink()
        assert store.claim(job.id, run=job.run)
        return perform(job, store, record)

    monkeypatch.setattr(_task, "_perform", robbed)
    job = next(iter(_jobs(archive)))
    answer = json.loads(_task.run_task(job.text()))
    assert answer["state"] == "elsewhere"
    assert not (archive.out / "tasks" / f"{job.id}.json").exists()


def _jobs(archive):
    from sunalign.archive._manifest import read_manifest
    from sunalign.archive._plan import Settings, plan_tasks

    store = Store(archive.out)
    store.prepare()
    return [plan.job for plan in plan_tasks(read_manifest(archive.manifest), store, Settings(), run="mine")]
