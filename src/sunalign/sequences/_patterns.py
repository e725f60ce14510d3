"""What stays with the detector while the Sun moves over it: dust, hot pixels, an occulter's edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from sunalign.exceptions import ImageError
from sunalign.model.hot_pixels import hot_pixels
from sunalign.sequences._frames import SequenceFrame
from sunalign.sequences._known_motion import Placing
from sunalign.sequences._working import working_image

__all__ = ["detector_pattern", "lasting_hot_pixels"]

#: Frames that are looked at, working pixels by which the scene has to have moved, and those over which it is smooth.
_FRAMES, _MOVED, _SMOOTH = 24, 8.0, 3.0
_LEAST = 6  # Frames of which a median says something.

#: A spot is one by its steadiness, there and in time, and counts if it stands out of the scene's own detail.
_STEADY, _STRONG, _LASTING = 5.0, 1.0, 2.0
_LARGEST_SHARE = 0.2

#: Working pixels by which headers may be off and still tell where the scene goes.
_NEAR = 4

#: Side of the part that is looked at first for hot pixels, and the share of it from which they are worth a mask.
_PATCH, _WORTH = 128, 5e-4
_PASSES = 8


def lasting_hot_pixels(frames: Sequence[SequenceFrame], placings: Sequence[Placing | None]) -> np.ndarray | None:
    """Lone hot or dead pixels that two of three frames agree about, True; `None` where they are few.

    No optics makes a pixel that its neighbours share nothing of, so that this can be told wherever the Sun is.
    """
    some = [k for k, placed in enumerate(placings) if placed is not None]
    if len(some) < 2 or len({frames[k].head.grid.shape for k in some}) > 1:
        return None
    chosen = [frames[some[i]] for i in np.unique([0, len(some) // 2, len(some) - 1])]
    ny, nx = chosen[0].head.grid.shape
    y, x = (slice(max(0, (n - _PATCH) // 2), (n + _PATCH) // 2) for n in (ny, nx))
    found = _agreed([_hot(frame, y, x) for frame in chosen])
    if found is None or found.mean() < _WORTH:
        return None
    return found if found.shape == (ny, nx) else _agreed([_hot(frame, slice(0, ny), slice(0, nx)) for frame in chosen])


def _hot(frame: SequenceFrame, y: slice, x: slice) -> np.ndarray | None:
    try:
        data = frame.frame.read(y, x)
        found = hot_pixels(data)
        # Many of them hide each other, and pass for noise.
        for _ in range(_PASSES):
            more = hot_pixels(np.where(found, np.nan, data)) if found.mean() > _WORTH else None
            if more is None or not more.any():
                break
            found |= more
        return found
    except (ImageError, OSError, ValueError, TypeError):
        return None  # Whatever is wrong with it is said when it is loaded.
    finally:
        frame.frame.close()


def _agreed(found: Sequence[np.ndarray | None]) -> np.ndarray | None:
    seen = [hot for hot in found if hot is not None]
    return np.sum(seen, axis=0) >= 2 if len(seen) >= 2 else None


def detector_pattern(
    frames: Sequence[SequenceFrame], placings: Sequence[Placing | None], prepare: object
) -> np.ndarray | None:
    """Pixels that show the detector instead of the Sun, True; `None` where there are none or that cannot be told.

    The scene moves by known amounts, so that the median of the frames' fine detail, pixel by pixel of the detector,
    washes it out and keeps what does not move. Nothing is done where the scene moves by less than the size of what is
    looked for: then it would be the scene that stays.
    """
    some = [k for k, placed in enumerate(placings) if placed is not None]
    shapes = [frames[k].head.grid.shape for k in some]
    if len(some) < _LEAST or len({*shapes}) > 1 or len({placings[k].factor for k in some}) > 1:  # type: ignore[union-attr]
        return None
    origin = np.array([placings[k].origin for k in some])  # type: ignore[union-attr]
    if np.hypot(*np.ptp(origin, axis=0)) < _MOVED:
        return None
    factor = placings[some[0]].factor  # type: ignore[union-attr]
    chosen = [int(i) for i in np.unique(np.linspace(0, len(some) - 1, _FRAMES).astype(int))]
    found = {i: d for i in chosen if (d := _detail(frames[some[i]], factor, prepare)) is not None}
    if len(found) < _LEAST:
        return None
    details = np.array(list(found.values()))
    spots = _spots(details)
    if spots is None or not _moves_by_its_headers(np.where(spots, 0, details), origin[list(found)]):
        return None
    return _unbinned(spots, factor, shapes[0])


def _detail(frame: SequenceFrame, factor: int, prepare: object) -> np.ndarray | None:
    try:
        data, mask = frame.read()
        image = working_image(data, mask, factor, prepare.scaling, frame.name)  # type: ignore[attr-defined]
    except (ImageError, OSError, ValueError, TypeError):
        return None  # Whatever is wrong with it is said when it is loaded.
    return image.data - ndimage.gaussian_filter(image.data, _SMOOTH)


def _spots(details: np.ndarray) -> np.ndarray | None:
    median = np.median(details, axis=0)
    usual = 1.4826 * float(np.median(np.abs(median - np.median(median))))
    own = 1.4826 * float(np.median(np.abs(details - np.median(details, axis=(1, 2), keepdims=True))))
    # What stays is there in all frames; a large and bright structure that passes by is not.
    varies = 1.4826 * np.median(np.abs(details - median), axis=0)
    spots = np.abs(median) > np.maximum(max(_STEADY * usual, _STRONG * own), _LASTING * varies)
    # The foot of a spot too, which does not reach the limit itself.
    spots = ndimage.binary_dilation(spots, iterations=2)
    return spots if spots.any() and spots.mean() <= _LARGEST_SHARE else None


def _moves_by_its_headers(details: np.ndarray, origin: np.ndarray) -> bool:
    """Whether what is left without the spots moves over the detector as the headers have it.

    Where it does not, the headers are off, which is what a sequence is aligned for: the Sun itself may be what stays.
    """
    ny, nx = details.shape[1:]
    first, second = np.triu_indices(len(details), 1)
    apart = np.rint(origin[first] - origin[second]).astype(int)
    far = np.hypot(*apart.T)
    pairs = np.flatnonzero((far >= _MOVED) & (np.abs(apart) < np.array([nx, ny]) / 2).all(axis=1))
    pairs = pairs[np.argsort(far[pairs], kind="stable")][:_FRAMES]
    if not len(pairs):
        return False
    spectra = np.fft.rfft2(details)
    moving, still = np.zeros((ny, nx)), np.zeros((ny, nx))
    for k in pairs:
        surface = np.fft.irfft2(np.conj(spectra[first[k]]) * spectra[second[k]], (ny, nx))
        surface /= surface.std() or 1.0
        still += surface
        # Where the headers have the maximum comes to be pixel (0, 0).
        moving += np.roll(surface, (-apart[k, 1], -apart[k, 0]), axis=(0, 1))
    return _middle_height(moving) > max(_STEADY * float(moving.std()), _middle_height(still))


def _middle_height(surface: np.ndarray) -> float:
    """Maximum next to pixel (0, 0)."""
    return float(np.roll(surface, (_NEAR, _NEAR), axis=(0, 1))[: 2 * _NEAR + 1, : 2 * _NEAR + 1].max())


def _unbinned(spots: np.ndarray, factor: int, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape, bool)
    fine = np.repeat(np.repeat(spots, factor, axis=0), factor, axis=1)
    whole[: fine.shape[0], : fine.shape[1]] = fine[: shape[0], : shape[1]]
    return whole
