"""Correct the pointing of solar images and slit rasters.

`align` compares a target with a reference whose pointing is trusted and writes the shift, scale and rotation it finds
into the target's coordinates. The data are never resampled. Importing this package gives
`~sunpy.map.GenericMap` and `~ndcube.NDCube` the method ``align_to``: at once where they have been imported, else as
soon as they are.
"""

from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from sunalign._lazy import lazy
from sunalign._when_imported import when_imported

if TYPE_CHECKING:
    from sunalign.alignment.align import align
    from sunalign.alignment.attach import attach, detach
    from sunalign.alignment.working_grid import reproject_to_reference
    from sunalign.archive import align_archive
    from sunalign.correction import Correction
    from sunalign.correctors import correct
    from sunalign.files.catalog import fido_query, find_images
    from sunalign.model.intensity import IntensityScaling
    from sunalign.result import AlignmentResult
    from sunalign.sequences import align_sequence

try:
    __version__ = version("sunalign")
except PackageNotFoundError:  # A checkout that was never installed.
    __version__ = "0+unknown"

__all__ = [
    "AlignmentResult",
    "Correction",
    "IntensityScaling",
    "align",
    "align_archive",
    "align_sequence",
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
    "IntensityScaling": "model.intensity",
    "align": "alignment.align",
    "align_archive": "archive",
    "align_sequence": "sequences",
    "attach": "alignment.attach",
    "correct": "correctors",
    "detach": "alignment.attach",
    "fido_query": "files.catalog",
    "find_images": "files.catalog",
    "reproject_to_reference": "alignment.working_grid",
}
_MODULES = (
    "abc",
    "archive",
    "correctors",
    "files",
    "images",
    "pointing",
    "registry",
    "sequences",
    "simulate",
    "sunkit_image",
    "testing",
    "visualization",
)


__getattr__, __dir__ = lazy("sunalign", _HOMES, _MODULES)

# Which imports both, and attaches: nobody who needs neither should wait for them.
when_imported(("sunpy.map", "ndcube"), partial(import_module, "sunalign.alignment.attach"))
