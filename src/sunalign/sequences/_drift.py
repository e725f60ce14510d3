"""The slow part of the pointing: kept where only the scene speaks against it, bounded where anchors do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sunalign.correction import UNITS
from sunalign.exceptions import AlignmentError
from sunalign.sequences._anchors import Anchor

if TYPE_CHECKING:
    from sunalign.sequences._estimators import Estimate

__all__ = ["DRIFTS", "Bridge", "Settled", "bridge", "settle_drift", "smooth_degree", "smooth_part"]

DRIFTS = ("auto", "keep", "remove")

#: Parts of the anchors' scatter that a random walk between them may make, per anchor interval.
_NONE = 1e-9  # Weight of one that has no say.
_ALONE = 6.0  # Deviations from its neighbours beyond which an anchor is wrong.
_WALKS = np.concatenate([[0.0], np.logspace(-2, 7, 73)])


@dataclass(frozen=True, eq=False)
class Settled:
    """Corrections with a zero.

    Parameters
    ----------
    values : `numpy.ndarray`, shape (n, p)
        In `~sunalign.correction.UNITS`.
    covariance : `numpy.ndarray`, shape (n, p, p)
    said : `str`
        What was done about the drift, in words.
    weight : `numpy.ndarray`
        Of the anchors.
    doubt : `str`
        Empty unless the anchors speak against the answer.
    """

    values: np.ndarray
    covariance: np.ndarray
    said: str
    weight: np.ndarray
    doubt: str = ""


def settle_drift(estimate: Estimate, seconds: np.ndarray, drift: str, anchors: Sequence[Anchor] | None) -> Settled:
    """Give corrections that are known but for a common zero their zero, and their slow part its due.

    Parameters
    ----------
    estimate : `~sunalign.sequences._estimators.Estimate`
    seconds : `numpy.ndarray`, shape (n,)
    drift : {"auto", "keep", "remove"}
    anchors : sequence of `~sunalign.sequences._anchors.Anchor`, optional
    """
    if anchors is not None:
        return _anchored(estimate, seconds, anchors)
    values, placed = estimate.values.copy(), estimate.placed
    if drift == "remove":
        said = "removed: the scene is held still, at the headers' mean pointing; its own motion went with it"
        covariance = estimate.covariance
        if estimate.wander.shape == values.shape:
            covariance = covariance + estimate.wander[:, :, None] * np.eye(values.shape[1])
            if (largest := float(np.sqrt(estimate.wander[placed].max(initial=0.0)))) > 0:
                said += f", which may be as much as {largest:.2g} arcsec, for it changes"
        return Settled(values, covariance, said, np.zeros(0))
    slow = smooth_part(values, seconds, placed)
    slow = slow - slow[placed].mean(axis=0)
    degree = ("mean", "straight line", "parabola", "cubic")[smooth_degree(int(placed.sum()))]
    size = ", ".join(f"{np.ptp(slow[placed, k]):.2g}" for k in range(min(2, values.shape[1])))
    said = (
        f"the headers' own is kept: only what departs from a {degree} in time is corrected ({size} arcsec of it are "
        f"left), for without a reference a drift cannot be told from a motion of the scene"
    )
    if degree == "mean":
        said = "the headers' mean pointing is kept"
    return Settled(values - slow, estimate.covariance, said, np.zeros(0))


def _anchored(estimate: Estimate, seconds: np.ndarray, anchors: Sequence[Anchor]) -> Settled:
    names, p = estimate.names, len(estimate.names)
    good = [a for a in anchors if a.success and a.correction is not None and estimate.placed[a.number]]
    if not good:
        why = next((a.message for a in anchors if a.message), "")
        raise AlignmentError(
            f"None of the {len(anchors)} frames compared with the reference could be aligned. {why.rstrip('.')}. "
            f"Check the reference, or leave it out to align the frames with each other only."
        )
    numbers = np.array([a.number for a in good])
    found = np.array([[a.correction.parameters[name] for name in names] for a in good])  # type: ignore[union-attr]
    error = np.array([[a.correction.errors.get(name, np.nan) for name in names] for a in good])  # type: ignore[union-attr]
    usual = np.nanmedian(np.where(np.isfinite(error), error, np.nan), axis=0)
    error = np.where(np.isfinite(error), error, 3 * np.nan_to_num(usual, nan=1.0))
    # What the pairs say is not sure either; an anchor that is better than they are does not bend them.
    own = np.einsum("nii->ni", estimate.local[numbers])
    spanned = bridge(found - estimate.values[numbers], error**2 + own, seconds[numbers], seconds)
    values = estimate.values + spanned.offset
    covariance = estimate.local + spanned.variance[:, :, None] * np.eye(p)
    bad = int(np.count_nonzero(spanned.weight < 0.5))
    walk = spanned.walk * np.sqrt(max(float(np.ptp(seconds[numbers])) / max(len(good) - 1, 1), 0.0))
    units = [str(UNITS[name]) for name in names]
    said = (
        f"from {len(good) - bad} of {len(anchors)} anchors; between neighbouring ones the scene wanders by "
        + ", ".join(f"{w:.2g} {unit}".rstrip() for w, unit in zip(walk[:2], units[:2], strict=True))
    )
    doubt = ""
    if 2 * bad > len(good) or 2 * len(good) < len(anchors):
        doubt = (
            f"Only {len(good) - bad} of {len(anchors)} anchors agree with each other; check the reference, or choose "
            f"anchor_every smaller."
        )
    return Settled(values, covariance, said, spanned.weight, doubt)


def smooth_degree(n: int) -> int:
    """Degree of the polynomial in time that counts as drift: a cubic, less for a few frames.

    Parameters
    ----------
    n : `int`
        Number of frames.
    """
    return 0 if n < 5 else 1 if n < 12 else 2 if n < 20 else 3


def smooth_part(values: np.ndarray, seconds: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """Slow part of values against time, shape (n, p): a polynomial of `smooth_degree`.

    Parameters
    ----------
    values : `numpy.ndarray`, shape (n, p)
    seconds : `numpy.ndarray`, shape (n,)
    placed : `numpy.ndarray` of `bool`, shape (n,)
        Those to be fitted; the polynomial is returned for all.
    """
    degree = smooth_degree(int(placed.sum()))
    half = max(float(np.ptp(seconds)) / 2, 1e-9)
    t = (seconds - seconds.mean()) / half
    basis = np.polynomial.legendre.legvander(t, degree)
    coefficients = np.linalg.lstsq(basis[placed], values[placed], rcond=None)[0]
    return np.asarray(basis @ coefficients)


@dataclass(frozen=True, eq=False)
class Bridge:
    """What anchors add to displacements that are known but for a slowly wandering zero.

    Parameters
    ----------
    offset : `numpy.ndarray`, shape (n, p)
    variance : `numpy.ndarray`, shape (n, p)
    walk : `numpy.ndarray`, shape (p,)
        Standard deviation of the zero's random walk, a square root of a second.
    weight : `numpy.ndarray`, shape (m,)
        Of the anchors: less than 1 for one that disagrees with its neighbours.
    """

    offset: np.ndarray
    variance: np.ndarray
    walk: np.ndarray
    weight: np.ndarray


def bridge(gap: np.ndarray, variance: np.ndarray, at: np.ndarray, seconds: np.ndarray) -> Bridge:
    """Carry the differences that anchors find to all frames.

    The zero is a constant plus a random walk, whose size is the most likely one: 0 where the anchors agree within their
    errors, so that all of them share in one constant; otherwise each rules over its surroundings.

    Parameters
    ----------
    gap, variance : `numpy.ndarray`, shape (m, p)
        Anchor less displacement, and the anchors' variance.
    at : `numpy.ndarray`, shape (m,)
        Times of the anchors, seconds.
    seconds : `numpy.ndarray`, shape (n,)
        Times of all frames.
    """
    p = gap.shape[1]
    offset, spread = np.empty((len(seconds), p)), np.empty((len(seconds), p))
    walk, weight = np.empty(p), np.ones(len(gap))
    for k in range(p):
        offset[:, k], spread[:, k], walk[k], w = _one(gap[:, k], variance[:, k], at, seconds)
        weight = np.minimum(weight, w)
    return Bridge(offset, spread, walk, weight)


def _one(
    gap: np.ndarray, variance: np.ndarray, at: np.ndarray, seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    m = len(gap)
    weight = _agreeing(gap, variance)
    interval = max(float(np.ptp(at)) / max(m - 1, 1), 1e-9)
    unit = float(np.median(variance)) / interval
    model = (0.0, 1.0)
    for _ in range(6 if m > 3 else 1):
        noise = variance / np.maximum(weight, _NONE)
        # No walk unless it explains clearly more: a spurious one would give up what the anchors share.
        model = max((_likelihood(gap, noise, at, w * unit) + (w == 0), w * unit) for w in _WALKS)
        mean, spread = _posterior(gap, noise, at, at, model[1])
        # Each anchor against what the others say of it.
        left = (gap - mean) / np.maximum(1 - spread / noise, 0.05)
        e = left**2 / np.maximum(noise + spread, 1e-300)
        new = np.minimum(_agreeing(gap, variance), np.where(e < 16, 1.0, 16 / np.maximum(e, 16)))
        if np.abs(new - weight).max() < 0.01:
            break
        weight = new
    mean, spread = _posterior(gap, variance / np.maximum(weight, _NONE), at, seconds, model[1])
    return mean, spread, float(np.sqrt(model[1])), weight


def _agreeing(gap: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Weights of anchors: next to none for one that its two neighbours contradict, the worst one first.

    A random walk could follow any anchor; that one of them stands alone is seen before.
    """
    weight = np.ones(len(gap))
    for _ in range(len(gap) // 4):
        kept = np.flatnonzero(weight == 1)
        g, v = gap[kept], variance[kept]
        between = np.concatenate([[g[1]], (g[:-2] + g[2:]) / 2, [g[-2]]])
        left = np.abs(g - between)
        scale = 1.4826 * np.median(left) + np.sqrt(v)
        worst = int(np.argmax(left / scale))
        if left[worst] < _ALONE * scale[worst]:
            break
        # Not one of the outlier's neighbours, which it contradicts by half as much.
        weight[kept[worst]] = _NONE
    return weight


def _kernel(a: np.ndarray, b: np.ndarray, start: float, q: float) -> np.ndarray:
    return q * (np.minimum(a[:, None], b) - start)


def _likelihood(gap: np.ndarray, noise: np.ndarray, at: np.ndarray, q: float) -> float:
    """Logarithm of the restricted likelihood, the constant integrated out."""
    k = _kernel(at, at, float(at.min()), q) + np.diag(noise)
    inverse = np.linalg.inv(k)
    one = inverse.sum(axis=0)
    total = float(one.sum())
    mean = float(one @ gap) / total
    r = gap - mean
    return -0.5 * float(r @ inverse @ r + np.linalg.slogdet(k)[1] + np.log(total))


def _posterior(
    gap: np.ndarray, noise: np.ndarray, at: np.ndarray, seconds: np.ndarray, q: float
) -> tuple[np.ndarray, np.ndarray]:
    start = float(min(at.min(), seconds.min()))
    inverse = np.linalg.inv(_kernel(at, at, start, q) + np.diag(noise))
    cross = _kernel(seconds, at, start, q)
    one = inverse.sum(axis=0)
    total = float(one.sum())
    mean = float(one @ gap) / total
    # Universal kriging: what is known of the constant goes along.
    lack = 1 - cross @ one
    variance = q * (seconds - start) - np.einsum("ni,ij,nj->n", cross, inverse, cross) + lack**2 / total
    return mean + cross @ inverse @ (gap - mean), np.maximum(variance, 0.0)
