"""What ``import sunalign`` adds to ``import sunpy.map``, in fresh processes."""

import subprocess
import sys

import numpy as np

CODE = """
import time
begun = time.perf_counter()
import sunpy.map
middle = time.perf_counter()
import sunalign
print(time.perf_counter() - middle, middle - begun)
"""


def import_times():
    """Seconds for sunalign beyond sunpy.map, and for sunpy.map."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def test_import(benchmark):
    times = []
    benchmark.group = "import sunalign beyond sunpy.map"
    # The table shows whole processes; the number of interest is in the extra information.
    benchmark.pedantic(lambda: times.append(import_times()), rounds=5, warmup_rounds=1)
    ours, theirs = np.min(times, axis=0)
    benchmark.extra_info |= {"seconds": float(ours), "sunpy.map": float(theirs)}
    print(f"\nimport sunalign: {ours:.3f} s beyond the {theirs:.3f} s of import sunpy.map")
    # ndcube, whose class gets a method, brings gwcs and astropy.modeling along; the rest has to be small beside sunpy.
    assert ours < 0.4 * theirs
