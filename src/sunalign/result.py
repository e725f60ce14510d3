"""The whole story of one alignment."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from astropy.table import QTable

from sunalign.correction import PARAMETERS, UNITS, Correction, with_error
from sunalign.images import Image
from sunalign.model.problem import Problem
from sunalign.model.quality import Quality
from sunalign.model.reference_contract import Reference
from sunalign.model.search_space import SearchSpace
from sunalign.model.surface import SearchSurface
from sunalign.pointing import Drift

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["AlignmentResult"]


@dataclass(frozen=True, eq=False, repr=False)
class AlignmentResult:
    """What an alignment found, how, and how sure it is.

    Parameters
    ----------
    aligned : object
        The target with corrected coordinates, of the type that was given.
    correction : `~sunalign.Correction`
        What was found, with 1-sigma errors.
    score, initial_score : `float`
        Of the metric on the target's own pixels, after and before.
    success : `bool`
        Whether the answer can be trusted; ``message`` says why not.
    message : `str`
    quality : `~sunalign.model.quality.Quality`
    history : `~astropy.table.QTable`
        Every evaluation at full resolution.
    nfev, nit : `int`
        Images compared, and iterations of the optimizer.
    plugins : mapping
        Name and options of the metric, optimizer, reference builder and corrector; under ``"refined by"`` those of an
        optimizer that another one handed over to.
    assumptions : mapping
        What was taken for granted: intensity scaling, limits, how time was read, where the observer's motion is from.
    target : `~sunalign.images.Image`
        As it was compared, masked but not scaled.
    reference : `~sunalign.model.reference_contract.Reference`
        As it was built, not scaled.
    surface : `~sunalign.model.surface.SearchSurface` or `None`
        The metric's scores over the shifts, on coarse images, from which the quality was read.
    problem : `~sunalign.model.problem.Problem`
        The forward model, for further questions.
    space : `~sunalign.model.search_space.SearchSpace`
        The free parameters and the bounds within which they were sought.
    drift : `~sunalign.pointing.Drift` or `None`
        Pointing of the columns beyond ``correction``, where that was asked for; ``pointing`` is its table.
    extra : mapping
        What the optimizer has to say besides, such as the correlation cube of ``grid-search``.
    """

    aligned: Any
    correction: Correction
    score: float
    initial_score: float
    success: bool
    message: str
    quality: Quality
    history: QTable
    nfev: int
    nit: int
    plugins: Mapping[str, Mapping[str, Any]]
    assumptions: Mapping[str, Any]
    target: Image
    reference: Reference
    surface: SearchSurface | None
    problem: Problem
    space: SearchSpace
    drift: Drift | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the parameters that were fitted."""
        return self.problem.names

    @property
    def x(self) -> np.ndarray:
        """The free parameters as plain numbers."""
        return np.array([self.correction.parameters[name] for name in self.free])

    @property
    def pointing(self) -> QTable | None:
        """What is to be added, column by column, to the corrected coordinates; `None` where no drift was fitted."""
        return None if self.drift is None else self.drift.table

    @property
    def found_pointing(self) -> QTable | None:
        """The same where there is something to be added, for what is written; `None` where a drift was refused."""
        return None if self.drift is None or self.drift.refused else self.drift.table

    def summary(self) -> str:
        """Several lines for a person."""
        lines = [
            f"Alignment of {self.target.name}: {'good' if self.success else 'DOUBTFUL'}",
            *(f"  {name:<9}{value}" for name, value in self._parameter_lines()),
            f"  score    {self.score:.4f} (before: {self.initial_score:.4f}), {self.nfev} evaluations",
            f"  by       {', '.join(map(_name, self.plugins.values()))}",
        ]
        lines += [f"  drift    {line}" for line in (self.drift.lines() if self.drift is not None else ())]
        lines += [f"  assumed  {key}: {value}" for key, value in self.assumptions.items()]
        return "\n".join([*lines, f"  {self.message}"])

    def _parameter_lines(self) -> list[tuple[str, str]]:
        lines = []
        for name in PARAMETERS:
            # Rounded, for what is held at 0 degrees comes back from a matrix as 4e-16.
            value, error = round(self.correction.parameters[name], 9) + 0.0, self.correction.errors.get(name)
            unit = str(UNITS[name])
            text = f"{with_error(value, error)} {unit}".rstrip()
            lines.append((name, text if name in self.free else f"{text} (held)"))
        return lines

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{k}</td><td>{html.escape(v)}</td></tr>" for k, v in self._parameter_lines())
        colour = "#1a7f37" if self.success else "#b35900"
        return (
            f"<div><p><b>Alignment of {html.escape(self.target.name)}</b>: "
            f"<span style='color:{colour}'>{'good' if self.success else 'doubtful'}</span></p>"
            f"<table>{rows}<tr><td>score</td><td>{self.score:.4f} (before: {self.initial_score:.4f})</td></tr></table>"
            f"<p>{html.escape(self.message)}</p></div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images as plain values, for JSON."""
        return {
            "correction": self.correction.to_dict(),
            "score": float(self.score),
            "initial_score": float(self.initial_score),
            "success": bool(self.success),
            "message": self.message,
            "quality": self.quality.to_dict(),
            "nfev": int(self.nfev),
            "nit": int(self.nit),
            "fit": list(self.free),
            **({} if self.drift is None else {"drift": self.drift.to_dict()}),
            "plugins": {kind: _plain(plugin) for kind, plugin in self.plugins.items()},
            "assumptions": _plain(self.assumptions),
            "target": self.target.name,
        }

    def plot(
        self,
        *,
        levels: Sequence[float] = (80.0, 95.0),
        axes: Any = None,
        fig: Figure | None = None,
        annotate: bool = True,
    ) -> Figure:
        """Draw the reference with the target's contours before and after; see `sunalign.visualization.plot_alignment`.

        Parameters
        ----------
        levels : sequence of `float`
            Percentiles of the target, lightly smoothed, at which contours are drawn.
        axes : `~astropy.visualization.wcsaxes.WCSAxes` or two of them, optional
            In the reference's coordinates: one gets both sets of contours, two get before and after. By default two are
            made.
        fig : `~matplotlib.figure.Figure`, optional
            Figure to make the axes in.
        annotate : `bool`
            Whether titles and labels are written.
        """
        from sunalign.visualization import plot_alignment

        return plot_alignment(self, levels=levels, axes=axes, fig=fig, annotate=annotate)

    def plot_history(self, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
        """Draw trials in parameter space, coloured by score; see `sunalign.visualization.plot_history`.

        Parameters
        ----------
        fig : `~matplotlib.figure.Figure`, optional
            Figure to draw in; a new one by default.
        annotate : `bool`
            Whether titles and labels are written.
        """
        from sunalign.visualization import plot_history

        return plot_history(self, fig=fig, annotate=annotate)

    def plot_convergence(
        self,
        *,
        against: str = "evaluation",
        axes: Axes | None = None,
        fig: Figure | None = None,
        annotate: bool = True,
    ) -> Figure:
        """Draw score and best score by evaluation or iteration; see `sunalign.visualization.plot_convergence`.

        Parameters
        ----------
        against : `str`
            ``"evaluation"`` or ``"iteration"``.
        axes : `~matplotlib.axes.Axes`, optional
            Where to draw; new ones by default.
        fig : `~matplotlib.figure.Figure`, optional
            Figure to make them in.
        annotate : `bool`
            Whether title and labels are written.
        """
        from sunalign.visualization import plot_convergence

        return plot_convergence(self, against=against, axes=axes, fig=fig, annotate=annotate)

    def plot_surface(self, *, axes: Axes | None = None, fig: Figure | None = None, annotate: bool = True) -> Figure:
        """Draw scores over the shifts, and the error ellipse; see `sunalign.visualization.plot_surface`.

        Parameters
        ----------
        axes : `~matplotlib.axes.Axes`, optional
            Where to draw; new ones by default.
        fig : `~matplotlib.figure.Figure`, optional
            Figure to make them in.
        annotate : `bool`
            Whether title and labels are written.
        """
        from sunalign.visualization import plot_surface

        return plot_surface(self, axes=axes, fig=fig, annotate=annotate)

    def plot_residual(self, *, axes: Any = None, fig: Figure | None = None, annotate: bool = True) -> Figure:
        """Draw the reference, the target and what is left; see `sunalign.visualization.plot_residual`.

        Parameters
        ----------
        axes : three `~astropy.visualization.wcsaxes.WCSAxes`, optional
            On the target's pixels; made by default.
        fig : `~matplotlib.figure.Figure`, optional
            Figure to make them in.
        annotate : `bool`
            Whether titles and labels are written.
        """
        from sunalign.visualization import plot_residual

        return plot_residual(self, axes=axes, fig=fig, annotate=annotate)

    def plot_pointing(self, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
        """Draw the pointing of the columns and its share of the residual; see `sunalign.visualization.plot_pointing`.

        Parameters
        ----------
        fig : `~matplotlib.figure.Figure`, optional
            Figure to draw in; a new one by default.
        annotate : `bool`
            Whether titles and labels are written.
        """
        from sunalign.visualization import plot_pointing

        return plot_pointing(self, fig=fig, annotate=annotate)

    def blink(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        interval: float = 700,
        dpi: float = 100,
        fig: Figure | None = None,
        annotate: bool = True,
        overwrite: bool = False,
    ) -> FuncAnimation:
        """Show the corrected target and the reference in turn; see `sunalign.visualization.blink`.

        Parameters
        ----------
        path : path-like, optional
            GIF to be written; none by default.
        interval : `float`
            Milliseconds for which each is shown.
        dpi : `float`
            Dots an inch of what is written.
        fig : `~matplotlib.figure.Figure`, optional
            Figure to draw in; a new one by default.
        annotate : `bool`
            Whether titles and labels are written.
        overwrite : `bool`
            Whether a file that exists is replaced.
        """
        from sunalign.visualization import blink

        return blink(self, path, interval=interval, dpi=dpi, fig=fig, annotate=annotate, overwrite=overwrite)

    def report(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: bool | Callable[..., Any] | None = None,
    ) -> Path:
        """Write all of it as one HTML page, and as JSON beside it; see `sunalign.visualization.report.write_report`.

        Parameters
        ----------
        path : path-like
            Of the page, ``.html``; its JSON has the same name.
        overwrite : `bool`
            Whether files that exist are replaced.
        progress : `bool` or callable, optional
            Bar over the figures: True for tqdm's, or what makes one like it.
        """
        from sunalign.visualization.report import write_report

        return write_report(self, path, overwrite=overwrite, progress=progress)

    def provenance(self) -> str:
        """Lines for HISTORY, after those of the correction itself: plugins, score and assumptions."""
        plugins = "; ".join(f"{kind} {_call(plugin)}" for kind, plugin in self.plugins.items())
        assumed = "; ".join(f"{key} {value}" for key, value in self.assumptions.items())
        return "\n".join(
            [
                f"sunalign {plugins}",
                f"sunalign score {self.score:.5f}, before {self.initial_score:.5f}; {self.message}",
                f"sunalign assumed: {assumed}",
            ]
        )


def _name(plugin: Mapping[str, Any]) -> str:
    return f"{plugin['name']} and {plugin['refined by']['name']}" if "refined by" in plugin else str(plugin["name"])


def _call(plugin: Mapping[str, Any]) -> str:
    call = f"{plugin['name']}({', '.join(f'{k}={v!r}' for k, v in plugin['options'].items())})"
    return f"{call}, refined by {_call(plugin['refined by'])}" if "refined by" in plugin else call


def _plain(value: Any) -> Any:
    """JSON's own types; anything else by its text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        return value.item()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
