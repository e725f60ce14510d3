"""What the alignment of a sequence found."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astropy.table import QTable

from sunalign.correction import UNITS, Correction
from sunalign.sequences._choice import Choice
from sunalign.sequences._known_motion import SceneGrid
from sunalign.sequences._picture import difference_rms
from sunalign.sequences._stack import Stack

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    from ndcube import NDCube

__all__ = ["SequenceResult"]


@dataclass(frozen=True, eq=False, repr=False)
class SequenceResult:
    """Where every frame of a sequence points, how sure that is, and the corrected frames.

    Parameters
    ----------
    aligned : object
        The frames with corrected coordinates, as they were given; for paths those of the files that were written, or
        `None` where none was asked for, also in the place of a path among maps.
    table : `~astropy.table.QTable`
        One row a frame, in the order given: frame, date, shift_x, shift_y and what else was fitted, each followed by
        its 1-sigma error, n_pairs, closure (root mean square residual of its pairs, in their standard deviations),
        doubtful, message. A frame that was not placed has NaN and is in ``aligned`` as it was.
    pairs : `~astropy.table.QTable`
        The pairs that were measured, by the numbers of their rows in ``table``: displacement, covariance, residual of
        the closure, score, and the weight they have in the end.
    corrections : `tuple` of `~sunalign.Correction` or `None`
        In the order of ``table``; `None` for a frame that was not placed.
    success : `bool`
        Whether every frame was placed and nothing speaks against the answer.
    message : `str`
    method : `~sunalign.sequences._choice.Choice`
        What placed the frames; ``choices`` has what it was chosen from.
    choices : `tuple`
    drift : `str`
        What was done about the slow part of the pointing, in words.
    anchors : `~astropy.table.QTable` or `None`
        Frames that were compared with the reference.
    assumptions : mapping
        What was taken for granted.
    names : `tuple` of `str`
        Of the parameters.
    scene : `~sunalign.sequences._known_motion.SceneGrid`
    stack : `~sunalign.sequences._stack.Stack`
        Small images of the frames that could be read, in the order of time, placed by their headers.
    placed : `numpy.ndarray`, shape (n, 2)
        What is added to those places, in working pixels; NaN for frames that were not placed.
    order : `numpy.ndarray` of `int`
        Row of ``table`` for each image of ``stack``.
    """

    aligned: Any
    table: QTable
    pairs: QTable
    corrections: tuple[Correction | None, ...]
    success: bool
    message: str
    method: Choice
    choices: tuple[Choice, ...]
    drift: str
    anchors: QTable | None
    assumptions: Mapping[str, str]
    names: tuple[str, ...]
    scene: SceneGrid
    stack: Stack
    placed: np.ndarray
    order: np.ndarray

    @cached_property
    def running_difference(self) -> tuple[float, float]:
        """How much neighbours differ before and after, root mean square in standard deviations of a frame."""
        before = np.where(np.isfinite(self.placed), 0.0, np.nan)
        return difference_rms(self.stack, before), difference_rms(self.stack, self.placed)

    def summary(self) -> str:
        """Several lines for a person."""
        n, doubtful = len(self.table), int(np.count_nonzero(self.table["doubtful"]))
        lines = [f"Alignment of {n} frames: {'good' if self.success else 'DOUBTFUL'}"]
        for name in self.names:
            value, error = self.table[name], self.table[f"{name}_error"]
            good = np.isfinite(value.value)
            if good.any():
                unit = f" {UNITS[name]}".rstrip()
                lines.append(
                    f"  {name:<9}{np.std(value.value[good]):.3g}{unit} rms, {np.ptp(value.value[good]):.3g}{unit} from "
                    f"least to most, error {np.median(error.value[good]):.2g}{unit}"
                )
        before, after = self.running_difference
        lines += [
            f"  by       {self.method}",
            f"  drift    {self.drift}",
            f"  running difference {before:.3f} before, {after:.3f} after, of a frame's standard deviation",
        ]
        lines += [f"  assumed  {key}: {value}" for key, value in self.assumptions.items()]
        if doubtful:
            rows = [r for r in self.table if r["doubtful"]]
            lines += [f"  doubtful {row['frame']}: {row['message']}" for row in rows[:12]]
            lines += [f"  and {len(rows) - 12} more"] if len(rows) > 12 else []
        return "\n".join([*lines, f"  {self.message}"])

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"

    def provenance(self, row: int) -> str:
        """Lines for the HISTORY of one frame, after those of the correction itself.

        Parameters
        ----------
        row : `int`
            Of the table.
        """
        assumed = "; ".join(f"{key} {value}" for key, value in self.assumptions.items())
        return "\n".join(
            [
                f"sunalign sequence of {len(self.table)} frames, by {self.method}",
                f"sunalign {int(self.table['n_pairs'][row])} pairs; drift: {self.drift}",
                f"sunalign assumed: {assumed}",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images as plain values, for JSON."""
        return {
            "success": bool(self.success),
            "message": self.message,
            "method": str(self.method),
            "drift": self.drift,
            "assumptions": {str(k): str(v) for k, v in self.assumptions.items()},
            "running_difference": [float(v) for v in self.running_difference],
            "frames": [
                {
                    "frame": str(row["frame"]),
                    "date": str(row["date"]),
                    "correction": None if correction is None else correction.to_dict(),
                    "n_pairs": int(row["n_pairs"]),
                    "doubtful": bool(row["doubtful"]),
                    "message": str(row["message"]),
                }
                for row, correction in zip(self.table, self.corrections, strict=True)
            ],
        }

    def to_cube(self) -> NDCube:
        """One cube of all placed frames, resampled on the pixels of the first; see `sunalign.sequences.to_cube`."""
        from sunalign.sequences._resample import to_cube

        return to_cube(self)

    def write_table(self, path: str | os.PathLike[str]) -> None:
        """Write the table by the ending of the name: ECSV with units and everything, CSV or FITS; replaces a file.

        Parameters
        ----------
        path : path-like
        """
        kind = {".csv": "ascii.csv", ".fits": "fits"}.get(Path(path).suffix.lower(), "ascii.ecsv")
        table = self.table
        if kind != "ascii.ecsv":
            table = table.copy()
            table.replace_column("date", [str(date) for date in table["date"].isot])
        table.write(path, format=kind, overwrite=True)

    def plot(self, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
        """Shifts with their errors against time; see `sunalign.sequences.plot_sequence`.

        Parameters
        ----------
        fig : `~matplotlib.figure.Figure`, optional
            Where to draw; a new one by default.
        annotate : `bool`
            Whether to write titles.
        """
        from sunalign.sequences._figures import plot_sequence

        return plot_sequence(self, fig=fig, annotate=annotate)

    def plot_pairs(self, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
        """Matrix of the pairs with their closure residuals; see `sunalign.sequences.plot_pairs`.

        Parameters
        ----------
        fig : `~matplotlib.figure.Figure`, optional
            Where to draw; a new one by default.
        annotate : `bool`
            Whether to write titles.
        """
        from sunalign.sequences._figures import plot_pairs

        return plot_pairs(self, fig=fig, annotate=annotate)

    def movie(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        fps: float = 8.0,
        dpi: float = 90,
        annotate: bool = True,
        overwrite: bool = False,
    ) -> FuncAnimation:
        """Frames before and after beside each other, as GIF or MP4; see `sunalign.sequences.movie`.

        Parameters
        ----------
        path : path-like, optional
            GIF or MP4 to write.
        fps : `float`
            Frames a second.
        dpi : `float`
            Resolution of the film.
        annotate : `bool`
            Whether to write titles.
        overwrite : `bool`
            Whether an existing file may be replaced.
        """
        from sunalign.sequences._movie import movie

        return movie(self, path, fps=fps, dpi=dpi, annotate=annotate, overwrite=overwrite)

    def report(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: bool | Callable[..., Any] | None = None,
    ) -> Path:
        """Write all of it as one HTML page, with JSON beside it; see `sunalign.sequences.write_report`.

        Parameters
        ----------
        path : path-like
            A name such as ``report.html``.
        overwrite : `bool`
            Whether existing files may be replaced.
        progress : `bool` or callable, optional
            True for a bar on the terminal, or something like `tqdm.tqdm`.
        """
        from sunalign.sequences._report import write_report

        return write_report(self, path, overwrite=overwrite, progress=progress)
