"""Every frame against the mean of all others, again and again until nothing moves: as many comparisons as frames."""

from __future__ import annotations

import numpy as np

from sunalign.sequences._correlation import Peaks, refine
from sunalign.sequences._network import Network
from sunalign.sequences._spectra import Band
from sunalign.sequences._stack import FINE, WHOLE, Stack, View

__all__ = ["solve_template"]

_ROUNDS = 8
_STILL = 0.02  # Working pixels.
_CHUNK = 24

#: Root mean squares by which the maximum of a frame that belongs to the sequence stands out at least.
HEIGHT = 3.6


def solve_template(stack: Stack, view: View = WHOLE, *, limit: int = FINE) -> Network | None:
    """Displacements of all frames from a scene that does not change.

    Parameters
    ----------
    stack : `~sunalign.sequences._stack.Stack`
        Placed to about a pixel.
    view : `~sunalign.sequences._stack.View`
    limit : `int`
        Frequencies along an axis.

    Returns
    -------
    `~sunalign.sequences._network.Network` or `None`
        Without pairs; `None` where the frames have no part of the scene in common.
    """
    frames = stack.usable
    if len(frames) < 3:
        return None
    theta = stack.theta.copy()
    peaks = None
    inside = np.ones(len(frames), bool)
    for _ in range(3):
        now = stack.at(theta)
        box = now.common_box()
        if box is None:
            return None
        boxes = view.boxes(box)
        share = max(boxes[0].nx, boxes[0].ny) / max(box.nx, box.ny)
        band = Band.of(boxes[0], max(8, round(limit * share)))
        found = [now.spectra(frames, part, band) for part in boxes]
        spectra, start = [s for s, _ in found], found[0][1]
        if stack.filter is not None:
            weight = stack.filter(band, float(len(frames)))
            spectra = [s * weight for s in spectra]
        offset, moved = start.copy(), np.inf
        for turn in range(_ROUNDS):
            last = turn == _ROUNDS - 1 or moved < _STILL
            peaks = _against_mean(spectra, band, offset, start, inside, look=turn == 0, nearly=not last)
            inside = peaks.found & (peaks.height > HEIGHT)
            if inside.sum() < 3:
                return None
            step = np.where(inside[:, None], -peaks.shift - offset, 0.0)
            # The mean of all frames says where the scene is; it must not wander.
            step[inside] -= step[inside].mean(axis=0)
            offset = offset + step
            moved = float(np.abs(step).max())
            if last:
                break
        theta[frames] += offset - start
        if np.abs(offset - start).max() < 0.75:
            break
    assert peaks is not None
    return _as_network(stack, theta, frames, inside, peaks)


def _against_mean(
    spectra: list[np.ndarray],
    band: Band,
    offset: np.ndarray,
    windows: np.ndarray,
    inside: np.ndarray,
    *,
    look: bool,
    nearly: bool,
) -> Peaks:
    """Displacement of every frame against the mean of the others, each moved to where it belongs."""
    ey = np.exp(-1j * np.outer(offset[:, 1], band.ky)).astype(np.complex64)
    ex = np.exp(-1j * np.outer(offset[:, 0], band.kx)).astype(np.complex64)
    moved = [s * ey[:, :, None] for s in spectra]
    for m in moved:
        m *= ex[:, None, :]
    total = [m.sum(axis=0) if inside.all() else m[inside].sum(axis=0) for m in moved]
    others = max(int(inside.sum()) - 1, 1)
    parts = []
    for k in range(0, len(offset), _CHUNK):
        chunk = slice(k, k + _CHUNK)
        cross = np.zeros((len(offset[chunk]), *band.shape), np.complex64)
        for s, m, t in zip(spectra, moved, total, strict=True):
            # A frame that is in the mean is taken out of it, or it would be compared with itself.
            rest = (t - m[chunk] * inside[chunk, None, None]) * np.float32(1 / others)
            cross += np.conj(rest) * s[chunk]
        # Nobody asks how alike a frame and the mean are.
        alike = np.ones(len(cross))
        parts.append(refine(cross, alike, band, -offset[chunk], -windows[chunk], look=look, nearly=nearly))
    return Peaks.joined(parts)


def _as_network(stack: Stack, theta: np.ndarray, frames: np.ndarray, inside: np.ndarray, peaks: Peaks) -> Network:
    n = len(stack)
    placed = np.zeros(n, bool)
    placed[frames[inside]] = True
    covariance = np.full((n, 2, 2), np.nan)
    m = int(inside.sum())
    own = peaks.covariance[inside]
    covariance[placed] = own * (1 - 2 / m) + own.mean(axis=0) / m
    centred = np.zeros((n, 2))
    centred[placed] = theta[placed] - theta[placed].mean(axis=0)
    return Network(centred, covariance, placed, np.zeros(0), np.zeros((0, 2)), np.nan, covariance)
