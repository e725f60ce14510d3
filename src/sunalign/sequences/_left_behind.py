"""Whether frames that lie on each other's pixels leave a scene behind that moved: the detector agrees, not the Sun."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sunalign.model.fixed_pattern import moved_scene
from sunalign.sequences._known_motion import Placing
from sunalign.sequences._working import WorkingImage

__all__ = ["left_behind"]

_ON_PIXELS = 0.75  # Working pixels by which frames that lie on each other's pixels may be off.
_PAIRS = 5  # Of neighbours, and as many far apart: jumps show in the one, a slow motion in the other.
_LEAST = 3  # Pairs of which a majority says something.
_SHARE = 0.1  # Share of what is left over that is a scene which moved, as the quality of a single alignment has it.
_REACH = 16  # Working pixels within which the scene is sought.

WARNING = (
    "The frames were put on each other's pixels, and a scene that moved is left over: dust, an occulter or the flat "
    "field agree instead of the Sun. Mask them with target_mask or divide by the flat field, as the how-to guide "
    "'Images of one detector' (docs/how_to/fixed_patterns.rst) shows."
)


def left_behind(
    images: Sequence[WorkingImage | None], placings: Sequence[Placing | None], found: np.ndarray, placed: np.ndarray
) -> str:
    """A word of warning where most pairs leave a moved scene; empty where they do not, or cannot be asked.

    Parameters
    ----------
    images : sequence of `~sunalign.sequences._working.WorkingImage` or `None`
        As their headers have them.
    placings : sequence of `~sunalign.sequences._known_motion.Placing` or `None`
    found : `numpy.ndarray`, shape (n, 2)
        What is added to the places of the frames, working pixels.
    placed : `numpy.ndarray` of `bool`, shape (n,)
    """
    if not len(found):
        return ""
    shown = {
        int(k): image
        for k in np.flatnonzero(placed)
        if (image := _own_pixels(images[int(k)], placings[int(k)])) is not None
    }
    own, place = list(shown), {k: image.origin + found[k] for k, image in shown.items()}
    for lag in (1, max(2, len(own) // 2)):
        pairs = [
            (a, b)
            for a, b in zip(own, own[lag:], strict=False)
            if shown[a].data.shape == shown[b].data.shape and np.abs(place[a] - place[b]).max() < _ON_PIXELS
        ]
        # A few that happen to lie on each other are no pattern.
        if len(pairs) < max(_LEAST, (len(own) - lag) / 2):
            continue
        some = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, _PAIRS).astype(int))]
        shares = [moved_scene(_values(shown[a]), _values(shown[b]), _REACH) for a, b in some]
        if np.median(shares) > _SHARE:
            return WARNING
    return ""


def _own_pixels(image: WorkingImage | None, placed: Placing | None) -> WorkingImage | None:
    """A frame that was not sampled anew; `None` if it was."""
    return image if placed is not None and placed.translation else None


def _values(image: WorkingImage) -> np.ndarray:
    values = image.data.astype(float)
    return values if image.valid is None else np.where(image.valid, values, np.nan)
