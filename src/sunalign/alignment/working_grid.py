"""The other road: bring the target onto the reference's grid first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reproject import reproject_interp

from sunalign.exceptions import AlignmentError
from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image, to_image

__all__ = ["on_working_grid", "reproject_to_reference"]


def reproject_to_reference(target: Any, reference: Any) -> Any:
    """Bring a target onto a reference's pixel grid, as its header has it.

    Useful to look at the two side by side. `sunalign.align` does not need it: it samples the reference at the target's
    own pixels, because resampling the noisy one of two images biases the answer.

    Parameters
    ----------
    target, reference : image
        See `sunalign.images.to_image`.

    Returns
    -------
    `~sunpy.map.GenericMap`
        Cropped to the target, NaN where the target has no pixel. Metadata, like the coordinates, of the reference.
    """
    return on_working_grid("reference", to_image(target), [reference]).to_map()


def on_working_grid(working_grid: str, target: Image, references: Sequence[Any]) -> Image:
    """Target on the grid where it is to be compared: its own, or the reference's.

    Parameters
    ----------
    working_grid : `str`
        ``"target"`` or ``"reference"``.
    target : `~sunalign.images.Image`
    references : sequence
        One, if its grid is to be used.
    """
    if working_grid == "target":
        return target
    if working_grid != "reference":
        raise ValueError(f"'working_grid' is 'target' or 'reference'; got {working_grid!r}.")
    if len(references) != 1:
        raise AlignmentError("working_grid='reference' takes one reference; use working_grid='target' for a sequence.")
    reference = to_image(references[0])
    # One observer for both: a difference is for the reference builder to deal with, not for a resampling.
    data, _ = reproject_interp((target.data, target.wcs), reference.wcs, shape_out=reference.data.shape)
    rows, columns = (np.flatnonzero(np.isfinite(data).any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        raise AlignmentError(f"{target.name} and {reference.name} do not overlap on the sky; check both pointings.")
    grid = PixelGrid(reference.wcs, data.shape)
    image = Image(data, grid, reference.meta, None, target.name, target.unit)
    return image.crop(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
