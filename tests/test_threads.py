"""Every process of the tests computes on one thread, those of ``-n auto`` and those that tests start included."""

import os
import subprocess
import sys

import threadpoolctl

COUNT = "import numpy, threadpoolctl; print(max(pool['num_threads'] for pool in threadpoolctl.threadpool_info()))"


def test_linear_algebra_has_one_thread_here():
    assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}


def test_and_in_what_a_test_starts():
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
