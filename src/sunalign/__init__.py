"""Correct the pointing of solar images and slit rasters.

`align` compares a target with a reference whose pointing is trusted and writes the shift, scale and rotation it finds
into the target's coordinates. The data are never resampled. Importing this package gives
`~sunpy.map.GenericMap` and `~ndcube.NDCube` the method ``align_to``.
"""

from importlib.metadata import PackageNotFoundError, version

from sunalign._align import align
from sunalign._attach import attach, detach
from sunalign._working_grid import reproject_to_reference
from sunalign.catalog import fido_query, find_images
from sunalign.correction import Correction
from sunalign.correctors import correct
from sunalign.intensity import IntensityScaling
from sunalign.result import AlignmentResult

try:
    __version__ = version("sunalign")
except PackageNotFoundError:  # A checkout that was never installed.
    __version__ = "0+unknown"

__all__ = [
    "AlignmentResult",
    "Correction",
    "IntensityScaling",
    "align",
    "attach",
    "correct",
    "detach",
    "fido_query",
    "find_images",
    "reproject_to_reference",
]

attach()
