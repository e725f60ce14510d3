"""What is late is stopped, and whoever works shows that it lives."""

import contextlib
import json
import threading
import time

import pytest

from sunalign.archive import _limits, _task
from sunalign.archive._limits import TaskTimeout, watched


def nothing():
    return None


def stubborn(seconds):
    """Code that takes no exception for an answer, for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except Exception:  # noqa: BLE001
            continue


@pytest.mark.parametrize("work", [time.sleep, stubborn])
def test_what_is_late_is_stopped(work):
    begun = time.monotonic()
    with pytest.raises(TaskTimeout), watched(0.2, nothing, nothing):
        work(30)
    assert time.monotonic() - begun < 20


def test_what_is_late_in_a_thread_is_stopped_too():
    """Where dask runs its tasks, signals do not reach."""
    caught = []

    def work():
        try:
            with watched(0.2, nothing, nothing):
                stubborn(30)
        except TaskTimeout:
            caught.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert caught == [True]


def test_what_is_in_time_is_left_alone():
    with watched(5, nothing, nothing):
        pass
    with watched(0.1, nothing, nothing):
        value = 1
    # The alarm is off, and a signal that was set before is as it was.
    time.sleep(0.3)
    assert value == 1


def test_only_a_worker_is_ended(monkeypatch):
    """The process of the user goes on whatever hangs in it; in a worker the record is written first."""
    ended, told, last = [], [], []
    monkeypatch.setattr(_limits.os, "_exit", ended.append)
    monkeypatch.setattr(_limits.faulthandler, "dump_traceback_later", lambda *a, **k: last.append((a, k["exit"])))

    def work():
        end = time.monotonic() + 1.5
        with watched(0.1, nothing, lambda: told.append("late")):
            while time.monotonic() < end:
                with contextlib.suppress(TaskTimeout):
                    time.sleep(0.05)

    work()
    assert (ended, told, last) == ([], [], [])
    monkeypatch.setattr(_limits, "in_worker", lambda: True)
    work()
    assert (ended, told) == ([70], ["late"])
    # For code that holds the interpreter's lock, later than both.
    ((delay,), ends), *others = last
    assert delay > 0.2
    assert ends
    assert not others


def test_a_long_task_beats():
    beats = []
    with watched(None, lambda: beats.append(1), nothing, every=0.02):
        time.sleep(0.5)
    assert len(beats) >= 3
    count = len(beats)
    time.sleep(0.1)
    assert len(beats) == count


@pytest.mark.parametrize(
    ("raised", "state", "error", "message"),
    [
        (SystemExit("enough"), "failed", "SystemExit", "enough"),
        (MemoryError(), "failed", "MemoryError", "MemoryError"),
        (ZeroDivisionError("division\nby zero"), "failed", "ZeroDivisionError", "division by zero"),
        (TaskTimeout(), "failed", "TimeoutError", "It took longer than the timeout of 60 s."),
    ],
)
def test_whatever_a_task_raises_is_its_state(archive, monkeypatch, raised, state, error, message):
    def fail(*_):
        raise raised

    monkeypatch.setattr(_task, "_perform", fail)
    monkeypatch.setattr(_task, "watched", lambda *_: _limits.contextlib.nullcontext())
    store = _task.Store(archive.out)
    store.prepare()
    job = _task.Job("a", "t0.fits", ("r0.fits",), "", {}, str(archive.out), "run", "key", (), timeout=60.0)
    answer = json.loads(_task.run_task(job.text()))
    assert answer == {"id": "a", "state": state, "message": message}
    assert store.read("a")["error"] == error
    assert not store.claims()


def test_a_timeout_is_a_time(archive):
    for timeout in (0, -1, float("nan"), float("inf"), True, "10"):
        with pytest.raises(ValueError, match="'timeout' is a number of seconds above 0"):
            archive.run(timeout=timeout)


def test_ctrl_c_in_this_process_ends_the_run(archive, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_task, "_perform", fail)
    with pytest.raises(KeyboardInterrupt):
        archive.run(report=False)
    monkeypatch.undo()
    store = _task.Store(archive.out)
    assert store.read("t0")["state"] == "interrupted"
    assert store.read("t1") is None
    assert set(archive.run()["state"]) == {"done"}
