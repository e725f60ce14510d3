"""An alignment as one HTML page that needs nothing else, and as JSON beside it."""

from __future__ import annotations

import base64
import html
import inspect
import io
import os
import platform
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import astropy.units as u

from sunalign._progress import tracked
from sunalign.correction import PARAMETERS, UNITS, with_error
from sunalign.model.quality import LIMITS, Quality

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sunalign.result import AlignmentResult

__all__ = ["write_report"]

_MEANINGS = {
    "shift_x": "added to Tx at the pivot",
    "shift_y": "added to Ty at the pivot",
    "scale_x": "multiplies the pixel size along x",
    "scale_y": "multiplies the pixel size along y",
    "rotation": "counter-clockwise on the sky about the pivot",
}

_AT_LEAST = ("peak_significance",)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top;
border-bottom: 1px solid #d8dee4; } td:first-child, td:nth-child(2) { white-space: nowrap; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #59636e; }
.good { color: #1a7f37; } .doubtful { color: #b35900; } code { font-size: .9em; overflow-wrap: anywhere; }
""".strip()


def write_report(
    result: AlignmentResult,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: bool | Callable[..., Any] | None = None,
) -> Path:
    """Write a page with the summary, the figures, the parameters, the quality and the provenance.

    The page holds its images and loads nothing. The JSON beside it can be read by
    `sunalign.files.io.load_correction`; its ``extra`` is `sunalign.AlignmentResult.to_dict`.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
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
    from sunalign.files.io import save_correction

    return write_both(
        path,
        lambda: page(result, progress),
        lambda beside: save_correction(beside, result.correction, result.to_dict(), overwrite=overwrite),
        overwrite,
    )


def write_both(
    path: str | os.PathLike[str], page: Callable[[], str], write_json: Callable[[Path], Any], overwrite: bool
) -> Path:
    """Write a page and the JSON beside it, both or none; nothing is drawn where the page may not be written.

    Parameters
    ----------
    path : path-like
        Of the page, ``.html`` or ``.htm``.
    page : callable
        Makes its text.
    write_json : callable
        Takes the path of the JSON.
    overwrite : `bool`
        Whether files that exist are replaced.

    Returns
    -------
    `~pathlib.Path`
        Of the page.
    """
    from sunalign.files.io import json_path
    from sunalign.files.output import atomic_write

    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"A report is a page such as report.html; got {os.fspath(path)!r}.")
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(page(), encoding="utf-8")
        write_json(json_path(path))
    return path


def page(result: AlignmentResult, progress: bool | Callable[..., Any] | None = None) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    progress : `bool` or callable, optional
        As in `write_report`.
    """
    name, verdict = html.escape(result.target.name), "good" if result.success else "doubtful"
    body = "\n".join(
        [
            f'<h1>Alignment of {name}: <span class="{verdict}">{verdict}</span></h1>',
            f"<p>{html.escape(result.message)}</p>",
            f"<p>Score {result.score:.4f} (before: {result.initial_score:.4f}), {result.nfev} evaluations.</p>",
            "<h2>Parameters</h2>",
            parameters_html(result),
            "<h2>Figures</h2>",
            *_figures(result, progress),
            "<h2>Quality</h2>",
            quality_html(result.quality),
            "<h2>Provenance</h2>",
            provenance_html(result),
        ]
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Alignment of {name}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def parameters_html(result: AlignmentResult) -> str:
    """Table of the parameters, their errors, and which were free.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    """
    rows = []
    for name in PARAMETERS:
        value, error = round(result.correction.parameters[name], 9) + 0.0, result.correction.errors.get(name)
        text = f"{with_error(value, error)} {UNITS[name]}".strip()
        rows.append((name, text, "free" if name in result.free else "held", _MEANINGS[name]))
    pivot = ", ".join(f"{value:.2f}" for value in result.correction.pivot.to_value("arcsec"))
    return table_html(("parameter", "value ± 1 σ", "", "meaning"), rows) + f"<p>Pivot: ({pivot}) arcsec.</p>"


def quality_html(quality: Quality) -> str:
    """Table of the signs of doubt with their limits.

    Parameters
    ----------
    quality : `~sunalign.model.quality.Quality`
    """
    meanings = _documented(type(quality))
    rows = []
    for field in fields(quality):
        value, limit = getattr(quality, field.name), LIMITS.get(field.name)
        shown = (", ".join(value) or "none") if isinstance(value, tuple) else _number(value)
        bound = "" if limit is None else f"{'≥' if field.name in _AT_LEAST else '≤'}\N{NO-BREAK SPACE}{limit:g}"
        rows.append((field.name.replace("_", " "), shown, bound, meanings.get(field.name, "")))
    return table_html(("sign", "value", "limit", "meaning"), rows)


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "not known"


def _documented(cls: type) -> dict[str, str]:
    """First paragraph on every parameter in a numpydoc docstring."""
    found: dict[str, list[str]] = {}
    name = None
    for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
        if line and not line.startswith(" "):
            name = line.partition(" : ")[0] if " : " in line else None
        elif name and line.strip():
            found.setdefault(name, []).append(line.strip())
    return {key: " ".join(lines).replace("`", "") for key, lines in found.items()}


def provenance_html(result: AlignmentResult) -> str:
    """Tables of plugins, assumptions and versions.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    """
    rows = []
    for kind, plugin in result.plugins.items():
        given = ", ".join(f"{key}={_shown(value)}" for key, value in plugin["options"].items())
        rows.append((kind, plugin["name"], given))
    assumed = [(key, str(value)) for key, value in result.assumptions.items()]
    return (
        table_html(("plugin", "name", "options"), rows)
        + "<h2>Assumptions</h2>"
        + table_html(("", "assumed"), assumed)
        + "<h2>Versions</h2>"
        + table_html(("package", "version"), _versions())
    )


@lru_cache(maxsize=1)
def _versions() -> list[tuple[str, str]]:
    """Of Python and of what the numbers stand on; they are looked up on disk, and do not change."""
    versions = [("Python", platform.python_version())]
    for package in ("sunalign", "sunpy", "ndcube", "astropy", "numpy", "scipy"):
        try:
            versions.append((package, version(package)))
        except PackageNotFoundError:  # a checkout that was never installed
            versions.append((package, "not known"))
    return versions


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, u.Quantity) else repr(value)


def table_html(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Table of text, which is escaped.

    Parameters
    ----------
    head : iterable of `str`
        Of the columns.
    rows : iterable of iterables of `str`
    """

    def row(tag: str, cells: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row('th', head)}{''.join(row('td', cells) for cells in rows)}</table>"


def _figures(result: AlignmentResult, progress: bool | Callable[..., Any] | None) -> list[str]:
    from sunalign.visualization.axes import off_screen

    figures: list[tuple[Callable[[], bytes], str, str]] = [
        (lambda: png_of(result.plot()), "Reference with contours of the target, before and after", "png"),
        (lambda: _gif(result), "Corrected target and reference in turn, on the target's pixels", "gif"),
        (
            lambda: png_of(result.plot_residual()),
            "Reference at the target's pixels, target, and what is left of it",
            "png",
        ),
        (lambda: png_of(result.plot_surface()), "Scores over the shifts, with the error of the answer", "png"),
        (lambda: png_of(result.plot_history()), "Trials at full resolution", "png"),
        (lambda: png_of(result.plot_convergence()), "Score of the trials and the best so far", "png"),
    ]
    if result.drift is not None:
        words = "Pointing of the columns with 1-sigma errors, and the residual without and with it"
        figures.insert(3, (lambda: png_of(result.plot_pointing()), words, "png"))
    with off_screen():
        return [figure_html(draw(), caption, kind) for draw, caption, kind in tracked(figures, progress, "figures")]


def figure_html(data: bytes, caption: str, kind: str) -> str:
    """Picture with its caption, the data inside the page.

    Parameters
    ----------
    data : `bytes`
        Of an image file.
    caption : `str`
        Without a full stop.
    kind : `str`
        ``"png"``, ``"gif"`` or another subtype of ``image/``.
    """
    text = base64.b64encode(data).decode("ascii")
    return (
        f'<figure><img src="data:image/{kind};base64,{text}" alt="{html.escape(caption)}">'
        f"<figcaption>{html.escape(caption)}.</figcaption></figure>"
    )


def png_of(figure: Figure) -> bytes:
    """Figure as the bytes of a PNG.

    Parameters
    ----------
    figure : `~matplotlib.figure.Figure`
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def _gif(result: AlignmentResult) -> bytes:
    # matplotlib's writers write files only.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "blink.gif"
        _: Any = result.blink(path)
        return path.read_bytes()
