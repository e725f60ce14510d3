"""Figures of an alignment; the methods of `~sunalign.AlignmentResult` are the usual way to them.

matplotlib is imported when a figure is made, and not before.
"""

from sunalign.visualization._alignment import plot_alignment
from sunalign.visualization._compare import blink, plot_residual
from sunalign.visualization._pointing import plot_pointing
from sunalign.visualization._search import plot_convergence, plot_history
from sunalign.visualization._surface import plot_surface

__all__ = [
    "blink",
    "plot_alignment",
    "plot_convergence",
    "plot_history",
    "plot_pointing",
    "plot_residual",
    "plot_surface",
]
