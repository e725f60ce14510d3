"""Archives: what a task costs beyond its alignment, resuming ten thousand, memory of the parent, and two workers.

``pytest tests/benchmarks/test_archive.py -s`` prints the numbers; they are in the extra columns of
``--benchmark-json``. What is compared is compared in one run; on a busy machine trust the ratios.
"""

import os
import subprocess
import sys
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MPLBACKEND="Agg")

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


def run(folder, out, clock=time.perf_counter, **options):
    before = clock()
    table = sunalign.align_archive(folder / "manifest.csv", folder / out, presets=PRESETS, **options)
    seconds = clock() - before
    assert set(table["state"]) == {"done"}
    return seconds


def test_a_task_beyond_its_alignment(benchmark, archive):
    # Of this process, which does all of it: what else the machine does, and how long its disk takes, is left out.
    clock = time.process_time

    def once():
        ours = {}
        for name, options in {
            "everything": {},
            "no corrected files": {"corrected": False},
            "records only": {"corrected": False, "thumbnails": False, "pages": False},
        }.items():
            ours[name] = run(archive, f"out-{name}-{time.monotonic_ns()}", clock, report=False, **options)
        before = clock()
        for k in range(COUNT):
            sunalign.align(
                archive / f"raster{k}.fits",
                archive / f"image{k - k % 6}.fits",
                fit=("shift", "scale"),
                max_shift=60 * u.arcsec,
                on_doubt="ignore",
            )
        return clock() - before, ours

    once()
    alone, ours = benchmark.pedantic(once, rounds=1)
    print(f"\nalign() alone: {1e3 * alone / COUNT:.1f} ms a task")
    for name, seconds in ours.items():
        more = seconds - alone
        benchmark.extra_info[name] = more / COUNT
        print(f"{name}: {1e3 * more / COUNT:+.1f} ms a task, {100 * more / alone:+.0f} %")
        assert more < max(0.020 * COUNT, 0.15 * alone)


@pytest.fixture(scope="module")
def finished(archive, tmp_path_factory):
    """Ten thousand finished tasks, written as the real ones are, of files that are empty."""
    return {n: _finish(tmp_path_factory.mktemp(f"finished{n}"), archive, n) for n in (1_000, 10_000)}


def _finish(folder, archive, n):
    from sunalign.files import io

    result = sunalign.align(archive / "raster0.fits", archive / "image0.fits", fit=("shift", "scale"))
    rows = [(f"task{k}", f"target{k}.fits", f"image{k // 6}.fits") for k in range(n)]
    for row in rows:
        for name in row[1:]:
            (folder / name).touch()
    Table(rows=rows, names=["id", "target", "references"]).write(folder / "manifest.csv")
    store = Store(folder / "out")
    store.prepare()
    sync, io._sync = io._sync, lambda path: None  # Ten thousand times to the disk would take minutes.
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
        io._sync = sync
    return folder


def test_resuming_ten_thousand_finished_tasks(benchmark, finished):
    folder = finished[10_000]
    spent = {report: run(folder, "out", time.process_time, report=report) for report in (False, True)}
    seconds = benchmark.pedantic(run, (folder, "out"), rounds=3)
    benchmark.extra_info |= {"processor": spent[True], "wall": seconds}
    print(
        f"\n10,000 finished tasks: {seconds:.1f} s; of the processor {spent[True]:.1f} s, of which "
        f"{spent[True] - spent[False]:.1f} s for table and page"
    )
    assert spent[True] < 5


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
        return {n: run(archive, f"out-{n}-{time.monotonic_ns()}", n_jobs=n, report=False) for n in (1, 2)}

    seconds = benchmark.pedantic(once, rounds=1)
    benchmark.extra_info["ratio"] = seconds[1] / seconds[2]
    print(f"\ntwo workers: {seconds[1] / seconds[2]:.2f} times as fast as one; two free cores are needed to see it")
