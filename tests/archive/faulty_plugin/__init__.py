"""A pretend third-party optimizer that misbehaves in every way that ends, or does not end, a task."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sunalign.optimizers import CoarseToFine


@dataclass(frozen=True, kw_only=True)
class Faulty(CoarseToFine):
    """Search as ``coarse-to-fine`` does, after some mischief.

    Parameters
    ----------
    how : `str`
        What to do first.
    flag : `str`
        File that tells that it was done once.
    """

    how: str = ""
    flag: str = ""

    def maximize(self, objective, space, *, rng):
        """Do it, and search."""
        getattr(self, f"_{self.how}")()
        return super().maximize(objective, space, rng=rng)

    def _hang(self):
        time.sleep(3600)

    def _hang_hard(self):
        while True:
            try:
                time.sleep(0.01)
            except BaseException:  # noqa: BLE001
                continue

    def _exit(self):
        sys.exit("enough")

    def _divide(self):
        return 1 / 0

    def _die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def _die_once(self):
        if not Path(self.flag).exists():
            Path(self.flag).touch()
            self._die()

    def _wait(self):
        # Until it is told to go on, at most a minute.
        Path(self.flag).touch()
        for _ in range(1200):
            if Path(f"{self.flag}.go").exists():
                return
            time.sleep(0.05)
