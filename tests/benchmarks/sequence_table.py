"""Table of schemes for sequences: errors on simulated ones, static and evolving, clean and with outlier frames.

Run with ``python tests/benchmarks/sequence_table.py [number of sequences]``. Frames of 128² pixels jump by 1 px rms on
top of a drift; intensities have a contrast of 25 %, and the S/N is that of a pixel's intensity. A static sequence has
48 frames of one scene. An evolving one has 36, whose scene has a correlation of 0.56 with itself 20 frames later, so
that part of what moves is the scene; its structure is coarser, which makes that the larger error. Outlier frames are a
twentieth of all: black, saturated, another scene, full of cosmic rays.

Every scheme but the template is given the same pairs, measured by `sunalign.sequences`. Numbers are the total rms of
the displacements less their mean, in pixels, over both axes and all good frames, the root mean square over sequences
(its standard error in brackets). The last rows are what `sunalign.align_sequence` does, with the standard deviation
of error over claimed error, how many outlier frames it named, and how many good ones it left out.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import warnings
from collections import defaultdict

import numpy as np
from scipy import fft, ndimage

import astropy.units as u
from astropy.time import Time

import sunpy.map

import sunalign
from sunalign.model.intensity import IntensityScaling
from sunalign.sequences._network import closure_share, pairs_up_to, solve_network
from sunalign.sequences._settle import settle
from sunalign.sequences._stack import Stack
from sunalign.sequences._template import solve_template
from sunalign.sequences._wander import filtered
from sunalign.sequences._working import working_image
from sunalign.testing.helpers import small_header

SIZE, PAD = 128, 32
LINEAR = IntensityScaling(stretch="linear", clip=None)

#: Name of a column: frames, S/N, lag-20 correlation, smoothness of the scene in pixels, share of outlier frames.
COLUMNS = {
    "static, S/N 3": (48, 3.0, None, 3.0, 0.0),
    "S/N 1": (48, 1.0, None, 3.0, 0.0),
    "S/N 0.5": (48, 0.5, None, 3.0, 0.0),
    "evolving, S/N 5": (36, 5.0, 0.56, 8.0, 0.0),
    "static, S/N 3, outliers": (48, 3.0, None, 3.0, 0.05),
    "evolving, S/N 5, outliers": (36, 5.0, 0.56, 8.0, 0.05),
}


def texture(rng, smoothness):
    """A scene that wraps around, of mean 0 and standard deviation 1."""
    scene = ndimage.gaussian_filter(rng.normal(size=(SIZE + 2 * PAD,) * 2), smoothness, mode="wrap")
    return (scene - scene.mean()) / scene.std()


def simulate(n, snr, correlation, smoothness, outliers, seed):
    """Frames, what each is displaced by in pixels, and which of them are good."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / (n - 1)
    drift = np.stack([8 * (t - 0.5) * rng.choice([-1, 1]), 3 * np.sin(2 * np.pi * (t + rng.uniform()))], axis=1)
    theta = drift + rng.normal(size=(n, 2))
    rate = 0.0 if correlation is None else np.arccos(correlation) / 20
    first, second = (fft.rfft2(texture(rng, smoothness)) for _ in range(2))
    ky, kx = 2 * np.pi * fft.fftfreq(SIZE + 2 * PAD)[:, None], 2 * np.pi * fft.rfftfreq(SIZE + 2 * PAD)
    frames = []
    for k in range(n):
        seen = first * np.cos(rate * k) + second * np.sin(rate * k)
        moved = fft.irfft2(seen * np.exp(1j * (kx * theta[k, 0] + ky * theta[k, 1])), (SIZE + 2 * PAD,) * 2)
        frames.append(1 + 0.25 * moved[PAD:-PAD, PAD:-PAD] + rng.normal(size=(SIZE, SIZE)) / snr)
    good = np.ones(n, bool)
    good[rng.choice(n, round(outliers * n + 0.5) if outliers else 0, replace=False)] = False
    for turn, k in enumerate(np.flatnonzero(~good)):
        frames[k] = spoilt(frames[k], turn + seed, rng, smoothness, snr)
    return frames, theta, good


def spoilt(frame, kind, rng, smoothness, snr):
    """An outlier frame of one of four kinds."""
    if kind % 4 == 0:
        return np.zeros_like(frame)
    if kind % 4 == 1:
        return np.full_like(frame, 4.0)
    if kind % 4 == 2:
        return 1 + 0.25 * texture(rng, smoothness)[PAD:-PAD, PAD:-PAD] + rng.normal(size=frame.shape) / snr
    return np.where(rng.uniform(size=frame.shape) < 0.3, 20.0 * rng.exponential(size=frame.shape), frame)


def as_maps(frames):
    """The frames as maps of an observer at Earth, one pixel an arcsecond, all with one pointing, 12 s apart."""
    maps = []
    for k, frame in enumerate(frames):
        header = small_header(frame.shape, scale=1.0)
        time = Time(header["date-obs"]) + 12 * k * u.s
        header |= {"date-obs": time.isot, "mjd-obs": time.mjd}
        maps.append(sunpy.map.Map(frame.astype(np.float32), header))
    return maps


def all_pairs(frames):
    """All pairs that can be measured, and the frames roughly in place; black frames show nothing."""
    images = []
    for frame in frames:
        try:
            images.append(working_image(frame, None, 1, LINEAR))
        except sunalign.exceptions.ImageError:
            images.append(working_image(np.random.default_rng(0).normal(size=frame.shape), None, 1, LINEAR))
    stack = filtered(settle(Stack(images), (SIZE / 4, SIZE / 4)), np.arange(len(images)))
    return stack.measure(pairs_up_to(len(frames), len(frames))), stack


def chain(table, n):
    """Each frame to the one before."""
    steps = np.zeros((n, 2))
    one = table.lag == 1
    steps[table.second[one]] = table.shift[one]
    return np.cumsum(steps, axis=0)


def sublists(table, n, length=10):
    """Each frame to the first of its list, whose last is the first of the next."""
    shift = {(i, j): d for i, j, d in zip(table.first, table.second, table.shift, strict=True)}
    theta = np.zeros((n, 2))
    for first in range(0, n, length):
        for j in range(first + 1, min(first + length + 1, n)):
            theta[j] = theta[first] + shift[first, j]
    return theta


def weighted_mean(table, n):
    """All pairs, the displacement of each frame the mean over all others weighted by correlation."""
    total, weight = np.zeros((n, 2)), np.zeros(n)
    w = np.clip(table.score, 0.0, None)
    for at, sign in ((table.second, 1), (table.first, -1)):
        np.add.at(total, at, sign * w[:, None] * table.shift)
        np.add.at(weight, at, w)
    return total / np.maximum(weight, 1e-9)[:, None]


def least_squares(table, n, lag):
    """Weighted least squares over pairs up to a lag."""
    return solve_network(table.only(table.lag <= lag), n, closure_share(table.only(table.lag <= 8))).theta


def error(theta, truth, good):
    """Errors of good frames less their mean; displacements of a frame that is nowhere are 0."""
    left = np.where(np.isfinite(theta), theta, 0.0)[good] - truth[good]
    return left - left.mean(axis=0)


def ours(frames, truth, good):
    """What the public function makes of it: errors, errors over claimed ones, outliers named, good frames lost."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = sunalign.align_sequence(
            as_maps(frames), drift="remove", scaling="linear", solar_rotation="none", on_doubt="ignore"
        )
    theta = np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1)
    sigma = np.stack([result.table["shift_x_error"].value, result.table["shift_y_error"].value], axis=1)
    placed = np.isfinite(theta).all(axis=1)
    left = error(theta, truth, good & placed)
    return left, left / sigma[good & placed], (~placed & ~good).sum(), (~placed & good).sum(), result.method


def column(setting, seeds):
    """All rows of a column: values a sequence, and what else is to be said of ours."""
    rows, scaled, named, lost, ways = defaultdict(list), [], 0, 0, defaultdict(int)
    for seed in seeds:
        frames, truth, good = simulate(*setting, seed)
        n = len(frames)
        table, stack = all_pairs(frames)
        template = solve_template(stack)
        made = {
            "chain (each to the one before)": chain(table, n),
            "sublists of 10 + 1": sublists(table, n),
            "all pairs, correlation-weighted mean": weighted_mean(table, n),
            "weighted least squares, K = 2": least_squares(table, n, 2),
            "weighted least squares, K = 8": least_squares(table, n, 8),
            "weighted least squares, all pairs": least_squares(table, n, n),
            "leave-one-out template": np.zeros((n, 2)) if template is None else template.theta,
        }
        for name, theta in made.items():
            rows[name].append(np.mean(error(theta, truth, good) ** 2))
        left, over, found, gone, way = ours(frames, truth, good)
        rows["align_sequence"].append(np.mean(left**2))
        scaled.append(over)
        named, lost = named + found, lost + gone
        ways[f"{way.method} {way.reach}" if way.reach else way.method] += 1
    return rows, float(np.std(np.concatenate(scaled))), named, lost, dict(ways)


def main(number=12):
    """Print the table."""
    print(f"rms error in px over {number} sequences\n")
    for name, setting in COLUMNS.items():
        rows, ratio, named, lost, ways = column(setting, range(number))
        print(name)
        for row, squares in rows.items():
            rms = np.sqrt(np.mean(squares))
            print(f"  {row:<40}{rms:8.3f}  ({np.std(squares) / np.sqrt(len(squares)) / (2 * rms):.3f})")
        print(f"  {'std(error / claimed error)':<40}{ratio:8.2f}")
        if setting[-1]:
            total = number * round(setting[-1] * setting[0] + 0.5)
            print(f"  {'outlier frames named, good ones lost':<40}{named} of {total}, {lost} of {number * setting[0]}")
        print(f"  by {', '.join(f'{way}: {count}' for way, count in sorted(ways.items()))}\n", flush=True)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
