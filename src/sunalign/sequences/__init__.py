"""Sequences: many images of one instrument, aligned with each other and with a reference.

`align_sequence` measures how the frames of a burst, of a series of slit-jaw images or of repeated rasters jump against
each other, and where all of them point if there is a trusted image; every frame's header is corrected, its pixels are
never touched.
"""

from typing import TYPE_CHECKING

from sunalign._lazy import lazy

if TYPE_CHECKING:
    from sunalign.sequences._estimators import CorrelationEstimator, Estimate, Estimator
    from sunalign.sequences._figures import plot_pairs, plot_sequence
    from sunalign.sequences._movie import movie
    from sunalign.sequences._plugins import PluginEstimator
    from sunalign.sequences._report import write_report
    from sunalign.sequences._resample import to_cube
    from sunalign.sequences._result import SequenceResult
    from sunalign.sequences._sequence import align_sequence

__all__ = [
    "CorrelationEstimator",
    "Estimate",
    "Estimator",
    "PluginEstimator",
    "SequenceResult",
    "align_sequence",
    "movie",
    "plot_pairs",
    "plot_sequence",
    "to_cube",
    "write_report",
]

# Loaded when first asked for: the command line knows of sequences without waiting for them.
__getattr__, __dir__ = lazy(
    "sunalign.sequences",
    {
        "CorrelationEstimator": "_estimators",
        "Estimate": "_estimators",
        "Estimator": "_estimators",
        "PluginEstimator": "_plugins",
        "SequenceResult": "_result",
        "align_sequence": "_sequence",
        "movie": "_movie",
        "plot_pairs": "_figures",
        "plot_sequence": "_figures",
        "to_cube": "_resample",
        "write_report": "_report",
    },
)
