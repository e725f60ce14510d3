"""What every snippet of the documentation stands on: a folder of its own, no display, no network."""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg")

import sys

import pytest

from astropy.utils import iers

import sunpy

iers.conf.auto_download = False
# What is told to the log is no output of a snippet.
sunpy.log.setLevel("WARNING")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Run a page where the files it writes hurt nobody, and close its figures."""
    monkeypatch.chdir(tmp_path)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
