"""Correct the pointing of solar images and slit rasters.

`align` compares a target with a reference whose pointing is trusted and writes the shift, scale and rotation it finds
into the target's coordinates. The data are never resampled. Importing this package gives
`~sunpy.map.GenericMap` and `~ndcube.NDCube` the method ``align_to``.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sunalign._attach import attach, detach

if TYPE_CHECKING:
    from sunalign._align import align
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

# Loaded when first asked for: whoever imports sunalign to have align_to at hand should not wait for all of it.
_HOMES = {
    "AlignmentResult": "result",
    "Correction": "correction",
    "IntensityScaling": "intensity",
    "align": "_align",
    "correct": "correctors",
    "fido_query": "catalog",
    "find_images": "catalog",
    "reproject_to_reference": "_working_grid",
}
_MODULES = ("abc", "cubes", "io", "neighbours", "pointing", "registry", "simulate", "testing")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"sunalign.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"sunalign.{name}")
    raise AttributeError(f"module 'sunalign' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


attach()
