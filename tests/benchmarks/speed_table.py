"""What a call costs beside its own search, beside sampling point by point, beside OpenCV, and beside an older version.

``python tests/benchmarks/speed_table.py`` prints ratios of processor time, each the least of many turns that the two
sides take in one run; ``--against DIRECTORY`` adds the whole call of another version, whose ``src`` that is. The
comparison with OpenCV needs ``opencv-python-headless``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
from scipy import ndimage

import astropy.units as u

import sunpy.map

import sunalign
from sunalign import simulate
from sunalign.simulate import PointingError

SIDE = 1024
PIXEL = 0.6


def least(*calls: Callable[[], object], turns: int) -> list[float]:
    """Least processor time of each of some calls, which take turns."""
    spent = [np.inf] * len(calls)
    for _ in range(turns + 1):  # The first turn warms up caches and imports, and is never the fastest.
        for k, call in enumerate(calls):
            begun = time.process_time()
            call()
            spent[k] = min(spent[k], time.process_time() - begun)
    return spent


def squares(roll: float, noise: float) -> tuple[sunpy.map.GenericMap, sunpy.map.GenericMap]:
    """Two images of 1024² pixels, turned against each other by ``roll`` degrees and some pixels apart."""
    rng, wide = np.random.default_rng(0), SIDE + 400
    frequency = np.fft.fftfreq(wide)[:, None] ** 2 + np.fft.rfftfreq(wide) ** 2
    field = np.zeros((wide, wide))
    for sigma in (1.5, 3, 8, 30):
        part = np.fft.irfft2(
            np.fft.rfft2(rng.standard_normal(field.shape)) * np.exp(-2 * (np.pi * sigma) ** 2 * frequency)
        )
        field += part / part.std()
    field = 100 * np.exp(0.4 * field)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    middle = (wide - 1) / 2
    turned = ndimage.map_coordinates(field, [sin * x + cos * y + middle - 5.6, cos * x - sin * y + middle + 8.3])
    header = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": PIXEL,
        "CDELT2": PIXEL, "CRVAL1": 0, "CRVAL2": 0, "CRPIX1": (SIDE + 1) / 2, "CRPIX2": (SIDE + 1) / 2,
        "DATE-OBS": "2024-01-01T00:00:00", "HGLN_OBS": 0, "HGLT_OBS": 0, "DSUN_OBS": 1.5e11, "RSUN_REF": 6.957e8,
    }  # fmt: skip
    images = turned, field[200 : 200 + SIDE, 200 : 200 + SIDE]
    target, reference = (sunpy.map.Map(image + rng.normal(0, noise, image.shape), dict(header)) for image in images)
    return target, reference


def align_squares(target: sunpy.map.GenericMap, reference: sunpy.map.GenericMap) -> sunalign.AlignmentResult:
    """The whole call on such a pair."""
    return sunalign.align(target, reference, fit=("shift", "rotation"), max_shift=60 * u.arcsec, on_doubt="ignore")


def call_over_search(turns: int) -> float:
    """A whole call on maps, a raster of 96 x 830 pixels with shift and scale, over the optimizer alone."""
    from sunalign.model.objective import Objective
    from sunalign.model.reference import ImageReference
    from sunalign.optimizers import CoarseToFine

    error = PointingError(shift_x=12 * u.arcsec, shift_y=-48 * u.arcsec, scale_x=1.03, scale_y=0.998)
    pair = simulate.raster_pair(3, error=error, n_steps=96, n_slit=830)

    def call() -> sunalign.AlignmentResult:
        return sunalign.align(pair.target, pair.reference, fit=("shift", "scale"))

    found = call()
    problem, space = found.problem, found.space

    def search() -> object:
        # The same arrays with nothing derived from them yet.
        old = problem.reference
        fresh = ImageReference(old._image, old.mapping, smoothing=old.smoothing)
        objective = Objective(replace(problem, reference=fresh), space)
        return CoarseToFine().maximize(objective, space, rng=np.random.default_rng(0))

    whole, alone = least(call, search, turns=turns)
    return whole / alone


def grid_over_points(turns: int) -> dict[str, float]:
    """One score, and one linearisation, of 512² pixels rolled by 2.88°, over the same sampled point by point."""
    from test_score import TRIAL, problem

    from sunalign.model.reference import ImageReference
    from sunalign.model.reference_contract import Reference

    class PointByPoint(ImageReference):
        sample_grid = Reference.sample_grid
        sample_grid_with_gradient = Reference.sample_grid_with_gradient

    fast = problem((512, 512), 2.88)
    slow = replace(fast, reference=PointByPoint(fast.reference._image, fast.reference.mapping))
    found = {}
    for word, method in (("score", "score"), ("linearisation", "normal_equations")):
        calls = [lambda p=p, method=method: getattr(p, method)(TRIAL) for p in (fast, slow)]
        ours, theirs = least(*calls, turns=turns)
        found[word] = ours / theirs
    return found


def opencv_over_call(target: sunpy.map.GenericMap, reference: sunpy.map.GenericMap, turns: int) -> float:
    """OpenCV's ECC, the target regridded for it by reproject, over a whole call."""
    import cv2

    from reproject import reproject_interp

    cv2.setNumThreads(1)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)

    def root(image: np.ndarray) -> np.ndarray:
        low, high = np.nanpercentile(image, (1, 99))
        return np.nan_to_num(np.sqrt(np.clip(image, low, high) - low)).astype(np.float32)

    def ecc() -> object:
        moved, _ = reproject_interp((target.data, target.wcs), reference.wcs, shape_out=reference.data.shape)
        mask, start = np.isfinite(moved).astype(np.uint8), np.eye(2, 3, dtype=np.float32)
        return cv2.findTransformECC(root(reference.data), root(moved), start, cv2.MOTION_EUCLIDEAN, criteria, mask, 5)

    ours, theirs = least(lambda: align_squares(target, reference), ecc, turns=turns)
    return theirs / ours


def whole_calls(turns: int) -> list[float]:
    """Seconds of the whole call on noisy pairs of 1024², not rotated and rotated."""
    pairs = [squares(roll, 60.0) for roll in (0.0, 0.7)]
    return least(*(lambda pair=pair: align_squares(*pair) for pair in pairs), turns=turns)


def trials(turns: int) -> list[float]:
    """Seconds of one score and of one linearisation of 512² pixels rolled by 2.88°."""
    from test_score import TRIAL, problem

    rolled = problem((512, 512), 2.88)
    return least(lambda: rolled.score(TRIAL), lambda: rolled.normal_equations(TRIAL), turns=turns)


def seconds_of(source: Path, function: str, turns: int) -> list[float]:
    """What `trials` or `whole_calls` gives with the package, and its own problem to try, in another directory."""
    code = f"import speed_table; print(*speed_table.{function}({turns}))"
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (source, source.parent / "tests" / "benchmarks", here)))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return [float(word) for word in run.stdout.split()]


def compare(other: Path, function: str, words: Sequence[str], turns: int) -> None:
    """Print the ratios of this version to another one; both start anew some times, in turn."""
    sources = [Path(__file__).parents[2] / "src", other]
    rounds = [[seconds_of(source, function, turns) for source in sources] for _ in range(3)]
    ours, theirs = np.min(rounds, axis=0)
    for word, ratio in zip(words, ours / theirs, strict=True):
        print(f"{word} / the other version's:".ljust(56) + f"{ratio:.2f}")


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--against", type=Path, help="src directory of another version")
    arguments = parser.parse_args()
    turns = arguments.turns
    print(f"whole call / its search, raster 96 x 830:               {call_over_search(turns):.2f}")
    for word, ratio in grid_over_points(turns).items():
        print(f"{word} / sampled point by point, 512² rolled:".ljust(56) + f"{ratio:.2f}")
    try:
        for roll in (0.0, 0.7):
            ratio = opencv_over_call(*squares(roll, 3.0), turns=max(turns // 3, 3))
            print(f"OpenCV's ECC with regridding / whole call, {roll:g}°:".ljust(56) + f"{ratio:.2f}")
    except ImportError as error:
        print(f"OpenCV's ECC: not compared ({error}).")
    if arguments.against:
        # Without it Python would take the version that is installed, and the ratios would be 1.
        if not (arguments.against / "sunalign" / "__init__.py").is_file():
            parser.error(f"{arguments.against} has no sunalign; it should be the src directory of another version.")
        compare(arguments.against, "trials", ("score, 512² rolled", "linearisation, 512² rolled"), turns)
        compare(arguments.against, "whole_calls", ("call, noisy 1024²", "call, noisy 1024², rotated by 0.7°"), 3)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
