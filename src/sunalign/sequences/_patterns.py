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

#: A spot is one by its steadiness, and counts if it stands out of the scene's own detail.
_STEADY, _STRONG = 5.0, 1.0
_LARGEST_SHARE = 0.2

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
    chosen = [some[i] for i in np.unique(np.linspace(0, len(some) - 1, _FRAMES).astype(int))]
    details = [d for d in (_detail(frames[k], factor, prepare) for k in chosen) if d is not None]
    if len(details) < _LEAST:
        return None
    return _spots(np.array(details), factor, shapes[0])


def _detail(frame: SequenceFrame, factor: int, prepare: object) -> np.ndarray | None:
    try:
        data, mask = frame.read()
        image = working_image(data, mask, factor, prepare.scaling, frame.name)  # type: ignore[attr-defined]
    except (ImageError, OSError, ValueError, TypeError):
        return None  # Whatever is wrong with it is said when it is loaded.
    return image.data - ndimage.gaussian_filter(image.data, _SMOOTH)


def _spots(details: np.ndarray, factor: int, shape: tuple[int, int]) -> np.ndarray | None:
    median = np.median(details, axis=0)
    usual = 1.4826 * float(np.median(np.abs(median - np.median(median))))
    own = 1.4826 * float(np.median(np.abs(details - np.median(details, axis=(1, 2), keepdims=True))))
    spots = np.abs(median) > max(_STEADY * usual, _STRONG * own)
    # The foot of a spot too, which does not reach the limit itself.
    spots = ndimage.binary_dilation(spots, iterations=2)
    if not spots.any() or spots.mean() > _LARGEST_SHARE:
        return None
    whole = np.zeros(shape, bool)
    fine = np.repeat(np.repeat(spots, factor, axis=0), factor, axis=1)
    whole[: fine.shape[0], : fine.shape[1]] = fine[: shape[0], : shape[1]]
    return whole
