"""Correctors write a correction into the coordinates of a target; the data never change."""

from sunalign.correctors._correct import correct, corrector_for
from sunalign.correctors._fits import FITSCorrector
from sunalign.correctors._ndcube import NDCubeCorrector
from sunalign.correctors._wcs import WCSCorrector
from sunalign.correctors._windows import apply_to_windows
from sunalign.wcs.metadata import add_history, history_entry
from sunalign.wcs.refit import refit

__all__ = [
    "FITSCorrector",
    "NDCubeCorrector",
    "WCSCorrector",
    "add_history",
    "apply_to_windows",
    "correct",
    "corrector_for",
    "history_entry",
    "refit",
]
