"""The time a task may take, and the sign of life of whoever does it.

A task that is late is stopped in three steps: a signal, which ends Python code and system calls; then, in a worker, the
end of its process; and where the code in the way holds the interpreter's lock, so that no thread of ours runs, a thread
of `faulthandler` that needs no lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["TaskTimeout", "grace", "in_worker", "watched"]


def grace(timeout: float) -> float:
    """Seconds that a late task has to end by itself.

    Parameters
    ----------
    timeout : `float`
        Seconds.
    """
    return min(5.0, timeout)


class TaskTimeout(BaseException):
    """A task took longer than it may."""


def in_worker() -> bool:
    """Whether this process may be ended: it is a worker of joblib or dask, and not the user's own."""
    if multiprocessing.parent_process() is not None:
        return True
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    with contextlib.suppress(ValueError):
        return bool(distributed.get_worker().nanny is not None)
    return False


@contextlib.contextmanager
def watched(
    timeout: float | None, beat: Callable[[], Any], late: Callable[[], Any], every: float = 20.0
) -> Iterator[None]:
    """Call ``beat`` now and then while the body runs, and stop the body when it is late.

    Parameters
    ----------
    timeout : `float` or `None`
        Seconds for the body; it ends with `TaskTimeout`.
    beat : callable
        Called every ``every`` seconds.
    late : callable
        Called before this process is ended because the body goes on after the signal.
    every : `float`
        Seconds.
    """
    watch = _Watch(timeout, beat, late, every)
    watch.start()
    try:
        with _alarm(timeout) if watch.by_signal else contextlib.nullcontext():
            yield
    finally:
        watch.stop()


class _Watch(threading.Thread):
    """Beats, and ends what is late."""

    def __init__(self, timeout: float | None, beat: Callable[[], Any], late: Callable[[], Any], every: float) -> None:
        super().__init__(daemon=True, name="sunalign archive")
        self.by_signal = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
        self._timeout, self._beat, self._late, self._every = timeout, beat, late, every
        self._owner = threading.get_ident()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._may_exit = in_worker()
        if timeout is not None and self._may_exit and self.by_signal:
            faulthandler.dump_traceback_later(timeout + 3 * grace(timeout), exit=True, file=2)

    def run(self) -> None:
        begun = time.monotonic()
        marks = [] if self._timeout is None else [self._timeout, self._timeout + grace(self._timeout)]
        while True:
            passed = time.monotonic() - begun
            wait = min([self._every, *(mark - passed for mark in marks[:1])])
            if self._ended.wait(max(wait, 0.0)):
                return
            if marks and time.monotonic() - begun >= marks[0]:
                marks.pop(0)
                if marks:
                    self._raise()
                elif self._may_exit:
                    self._end()
            else:
                self._beat()

    def _raise(self) -> None:
        """Raise in the thread of the body, where no signal does it."""
        with self._lock:
            if not self.by_signal and not self._ended.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._owner), ctypes.py_object(TaskTimeout))

    def _end(self) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._late()
                os._exit(70)

    def stop(self) -> None:
        with self._lock:
            self._ended.set()
        if self._timeout is not None and self._may_exit and self.by_signal:
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _alarm(timeout: float | None) -> Iterator[None]:
    if timeout is None:
        yield
        return

    def ring(*_: Any) -> None:
        raise TaskTimeout

    before = signal.signal(signal.SIGALRM, ring)
    # Again and again, for code that goes on after the first.
    signal.setitimer(signal.ITIMER_REAL, timeout, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
