"""A sequence as one HTML page that needs nothing else, and as JSON beside it."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign._progress import tracked
from sunalign.correction import UNITS, with_error
from sunalign.visualization.report import STYLE, figure_html, png_of, table_html, write_both

if TYPE_CHECKING:
    from sunalign.sequences._result import SequenceResult

__all__ = ["write_report"]


def write_report(
    result: SequenceResult,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: bool | Callable[..., Any] | None = None,
) -> Path:
    """Write a page with the summary, the figures, a film and the table.

    The page holds its images and loads nothing. The JSON beside it has every frame's correction, as
    `sunalign.Correction.from_dict` reads it.

    Parameters
    ----------
    result : `~sunalign.sequences.SequenceResult`
    path : path
        A name such as ``report.html``.
    overwrite : `bool`
        Whether existing files may be replaced.
    progress : `bool` or callable, optional
        True for a bar on the terminal, or something like `tqdm.tqdm`.

    Returns
    -------
    `pathlib.Path`
        Of the page.
    """
    from sunalign.files.io import plain_values_of, write_json

    def beside(other: Path) -> None:
        document = {"format": "sunalign sequence", "version": 1, **plain_values_of(result.to_dict())}
        write_json(other, document, overwrite)

    return write_both(path, lambda: page(result, progress), beside, overwrite)


def page(result: SequenceResult, progress: bool | Callable[..., Any] | None = None) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    result : `SequenceResult`
    progress : `bool` or callable, optional
        As in `write_report`.
    """
    verdict, n = "good" if result.success else "doubtful", len(result.table)
    before, after = result.running_difference
    body = "\n".join(
        [
            f'<h1>Alignment of {n} frames: <span class="{verdict}">{verdict}</span></h1>',
            f"<p>{html.escape(result.message)}</p>",
            f"<p>Running difference {before:.3f} before, {after:.3f} after, in standard deviations of a frame.</p>",
            "<h2>Figures</h2>",
            *_figures(result, progress),
            "<h2>Frames</h2>",
            _frames(result),
            "<h2>Method</h2>",
            _method(result),
            "<h2>Assumptions</h2>",
            table_html(
                ("", "assumed"), [("drift", result.drift), *((k, str(v)) for k, v in result.assumptions.items())]
            ),
        ]
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Alignment of {n} frames</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _figures(result: SequenceResult, progress: bool | Callable[..., Any] | None) -> list[str]:
    from sunalign.visualization.axes import off_screen

    figures: list[tuple[Callable[[], bytes], str, str]] = [
        (lambda: png_of(result.plot()), "What the headers were off by, with 1-sigma errors", "png"),
        (lambda: _gif(result), "The frames as their headers had them, and in their places", "gif"),
        (lambda: png_of(result.plot_pairs()), "Frames that were compared, and what does not close", "png"),
    ]
    with off_screen():
        return [figure_html(draw(), caption, kind) for draw, caption, kind in tracked(figures, progress, "figures")]


def _gif(result: SequenceResult) -> bytes:
    # matplotlib's writers write files only.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "movie.gif"
        _: Any = result.movie(path, dpi=60)
        return path.read_bytes()


def _frames(result: SequenceResult) -> str:
    rows = []
    for row in result.table:
        values = [
            with_error(float(row[name].to_value(UNITS[name])), float(row[f"{name}_error"].to_value(UNITS[name])))
            if np.isfinite(row[name].value)
            else "-"
            for name in result.names
        ]
        closure = f"{float(row['closure']):.2f}" if np.isfinite(row["closure"]) else "-"
        date = "-" if np.any(row["date"].mask) else str(row["date"].isot)[:23]
        rows.append((str(row["frame"]), date, *values, str(int(row["n_pairs"])), closure, str(row["message"])))
    units = [f"{name} [{UNITS[name]}]".replace(" []", "") for name in result.names]
    return table_html(("frame", "date", *units, "pairs", "closure", ""), rows)


def _method(result: SequenceResult) -> str:
    rows = [
        (str(choice), f"{choice.disagreement:.4f}", "chosen" if choice == result.method else "")
        for choice in result.choices
    ]
    if not rows:
        return f"<p>{html.escape(str(result.method))}.</p>"
    return (
        "<p>How far two halves of the images disagree about the frames' places, by method, in pixels of the images "
        "that were compared.</p>" + table_html(("method", "disagreement", ""), rows)
    )
