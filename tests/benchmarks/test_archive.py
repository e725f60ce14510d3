"""Archives: what a task costs beyond its alignment, resuming ten thousand, memory of the parent, and two workers.

``pytest tests/benchmarks/test_archive.py -s`` prints the numbers; they are in the extra columns of
``--benchmark-json``. What is compared is compared in one run; on a busy machine trust the ratios.
"""

import os
import subprocess
import sys
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MPLBACKEND="Agg")

import numpy as np
import pytest

import astropy.units as u
from astropy.table import Table

import sunalign
from sunalign import simulate
from sunalign.archive import read_manifest
from sunalign.archive._plan import Settings, plan_tasks
from sunalign.archive._store import Store

COUNT = 60
PRESETS = {"default": {"fit": "shift,scale", "max_shift": "60arcsec"}}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Rasters of 96 by 300, six to an image."""
    folder = tmp_path_factory.mktemp("archive")
    error = simulate.PointingError(shift_x=12 * u.arcsec, shift_y=-8 * u.arcsec, scale_x=1.01)
    pair = simulate.raster_pair(3, error=error, n_steps=96, n_slit=300)
    rows = []
    for k in range(COUNT):
        pair.target.save(folder / f"raster{k}.fits")
        if k % 6 == 0:
            pair.reference.save(folder / f"image{k}.fits")
        rows.append((f"raster{k}", f"raster{k}.fits", f"image{k - k % 6}.fits"))
    Table(rows=rows, names=["id", "target", "references"]).write(folder / "manifest.csv")
    return folder


def clocks():
    """Seconds of the processor in this process, and of the wall."""
    return np.array([time.process_time(), time.perf_counter()])


def run(folder, out, **options):
    """Do an archive; its seconds by both clocks."""
    before = clocks()
    table = sunalign.align_archive(folder / "manifest.csv", folder / out, presets=PRESETS, **options)
    seconds = clocks() - before
    assert set(table["state"]) == {"done"}
    return seconds


def align_all(archive):
    """Align the same without an archive; its seconds by both clocks."""
    before = clocks()
    for k in range(COUNT):
        sunalign.align(
            archive / f"raster{k}.fits",
            archive / f"image{k - k % 6}.fits",
            fit=("shift", "scale"),
            max_shift=60 * u.arcsec,
            on_doubt="ignore",
        )
    return clocks() - before


def test_a_task_beyond_its_alignment(benchmark, archive):
    kinds = {
        "everything": {},
        "no corrected files": {"corrected": False},
        "records only": {"corrected": False, "thumbnails": False, "pages": False},
    }

    def once():
        ours = {}
        for name, options in kinds.items():
            ours[name] = run(archive, f"out-{name}-{time.monotonic_ns()}", report=False, **options)
        return align_all(archive), ours

    once()
    alone, ours = benchmark.pedantic(once, rounds=1)
    print(
        "\nms a task, of the processor and on the wall; the wall's has the disk in it, and whatever else is done there"
    )
    print("align() alone: {:.1f}, {:.1f}".format(*1e3 * alone / COUNT))
    for name, seconds in ours.items():
        more, wall = 1e3 * (seconds - alone) / COUNT
        benchmark.extra_info |= {name: more, f"{name}, wall": wall}
        print(f"{name}: {more:+.1f} ({100 * (seconds / alone - 1)[0]:+.0f} %), {wall:+.1f}")
        # This process does all of it, so that its own time leaves out what else the machine does.
        assert more < max(20, 0.15 * 1e3 * alone[0] / COUNT)


@pytest.fixture(scope="module")
def finished(archive, tmp_path_factory):
    """Ten thousand finished tasks, written as the real ones are, of files that are empty."""
    return {n: _finish(tmp_path_factory.mktemp(f"finished{n}"), archive, n) for n in (1_000, 10_000)}


def _finish(folder, archive, n):
    from sunalign.files import output

    result = sunalign.align(archive / "raster0.fits", archive / "image0.fits", fit=("shift", "scale"))
    rows = [(f"task{k}", f"target{k}.fits", f"image{k // 6}.fits") for k in range(n)]
    for row in rows:
        for name in row[1:]:
            (folder / name).touch()
    Table(rows=rows, names=["id", "target", "references"]).write(folder / "manifest.csv")
    store = Store(folder / "out")
    store.prepare()
    sync, output._sync = output._sync, lambda path: None  # Ten thousand times to the disk would take minutes.
    try:
        for k, plan in enumerate(plan_tasks(read_manifest(folder / "manifest.csv", PRESETS), store, Settings())):
            job = plan.job
            kinds = {"corrected": ".fits", "thumbnail": ".jpg", "page": ".html"}
            paths = {kind: store.path(kind, job.id, suffix) for kind, suffix in kinds.items()}
            for path in paths.values():
                path.touch()
            record = {"id": job.id, "key": job.key, "run": "made", "state": "done", "message": result.message}
            record |= {"target": job.target, "references": job.references, "inputs": job.inputs}
            record |= {"options": job.options, "date": f"2024-{1 + k * 12 // n:02d}-{1 + k % 28:02d}T00:00:00"}
            record |= {"outputs": {kind: path.relative_to(store.out).as_posix() for kind, path in paths.items()}}
            store.write(job.id, record | {"seconds": 0.1, "distance": 0.5 + k / n, "keywords": {}}, result)
    finally:
        output._sync = sync
    return folder


def test_resuming_ten_thousand_finished_tasks(benchmark, finished):
    folder = finished[10_000]
    without, _ = run(folder, "out", report=False)
    spent, wall = benchmark.pedantic(run, (folder, "out"), rounds=3)
    benchmark.extra_info |= {"processor": spent, "wall": wall}
    print(
        f"\n10,000 finished tasks: {spent:.1f} s of the processor, of which {spent - without:.1f} s for table and page;"
        f" {wall:.1f} s on the wall"
    )
    assert spent < 5


PEAK = """
import resource, sys
import sunalign
if __name__ == "__main__":
    sunalign.align_archive(sys.argv[1] + "/manifest.csv", sys.argv[1] + "/out", presets={presets!r}, n_jobs=2)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_of_the_parent(benchmark, finished):
    def once():
        peaks = {}
        for n, folder in finished.items():
            code = PEAK.format(presets=PRESETS)
            done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
            peaks[n] = float(done.stdout)
        return peaks

    peaks = benchmark.pedantic(once, rounds=1)
    more = peaks[10_000] - peaks[1_000]
    benchmark.extra_info |= {str(n): peak for n, peak in peaks.items()}
    print(f"\npeak memory of the parent: {peaks}; {1024 * more / 9_000:.1f} kB a task")
    assert more < 150


def test_two_workers(benchmark, archive):
    run(archive, f"out-warm-{time.monotonic_ns()}", n_jobs=2, report=False)

    def once():
        return {n: run(archive, f"out-{n}-{time.monotonic_ns()}", n_jobs=n, report=False)[1] for n in (1, 2)}

    seconds = benchmark.pedantic(once, rounds=1)
    benchmark.extra_info["ratio"] = seconds[1] / seconds[2]
    print(f"\ntwo workers: {seconds[1] / seconds[2]:.2f} times as fast as one; two free cores are needed to see it")
