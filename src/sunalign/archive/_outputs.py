"""What a task leaves besides its record: corrected file, thumbnail and page."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Picture

import astropy.units as u
from astropy.io import fits

from sunalign.alignment.start import middle
from sunalign.files.io import apply_to_file
from sunalign.files.output import suffix_of
from sunalign.visualization import report

if TYPE_CHECKING:
    from sunalign.archive._store import Store
    from sunalign.archive._task import Job
    from sunalign.images import Image
    from sunalign.result import AlignmentResult

__all__ = ["KEYWORDS", "context_of", "write_outputs"]

#: Cards that offsets are known to go with: temperatures of the SPICE and EIS instruments.
KEYWORDS = ("T_FOCUS", "T_GRAT", "T_SW", "T_LW")

_HEIGHT = 150  # Pixels of a thumbnail.
_WIDEST = 260


def context_of(target: Image, path: Path, keywords: tuple[str, ...]) -> dict[str, Any]:
    """Time, distance and such of a target, for the record.

    Parameters
    ----------
    target : `~sunalign.images.Image`
    path : `~pathlib.Path`
        Of its file, for the units of cards.
    keywords : `tuple` of `str`
        Cards to be kept, where they are numbers.
    """
    time = middle(target)
    found: dict[str, Any] = {"date": None if time is None else time.utc.isot, "keywords": {}}
    distance = _number(_card(target.meta, "DSUN_OBS"))
    if distance is not None:
        found["distance"] = float((distance * u.m).to_value(u.AU))
    for key in keywords:
        value = _number(_card(target.meta, key))
        if value is not None:
            found["keywords"][key] = [value, unit_of(path, key)]
    return found


def unit_of(path: Path, key: str) -> str:
    """Unit of a card; of the files of one directory the first is asked for all.

    Parameters
    ----------
    path : `~pathlib.Path`
        FITS file.
    key : `str`
        Keyword.
    """
    if (path.parent, key) not in _UNITS:
        _UNITS[path.parent, key] = _unit(path, key)
    return _UNITS[path.parent, key]


_UNITS: dict[tuple[Path, str], str] = {}


def _unit(path: Path, key: str) -> str:
    """Unit of a card, which FITS puts in brackets at the beginning of its comment; empty where there is none."""
    try:
        with fits.open(path) as hdus:
            comments = [hdu.header.comments[key] for hdu in hdus if key in hdu.header]
    except (OSError, ValueError):
        return ""
    found = re.match(r"\s*\[([^\]]+)\]", comments[0]) if comments else None
    try:
        return "" if found is None else str(u.Unit(found[1]))
    except ValueError:
        return ""


def _card(header: Mapping[str, Any], key: str) -> Any:
    value = header.get(key)
    return header.get(key.lower()) if value is None else value


def _number(value: Any) -> float | None:
    ours = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return float(value) if ours and np.isfinite(value) else None


def write_outputs(
    job: Job, store: Store, result: AlignmentResult, record: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, str]:
    """Write the files of a task; their paths, seen from the output's directory, by kind.

    A doubtful answer gets no corrected file: whoever has looked at it can write one with ``sunalign apply``.
    """
    made: dict[str, Path] = {}
    if job.corrected and result.success:
        made["corrected"] = store.path("corrected", job.id, suffix_of(Path(job.target)) or ".fits")
        lines = f"{result.provenance()}\nsunalign archive task {job.id}, key {job.key}"
        apply_to_file(job.target, result.correction, made["corrected"], overwrite=True, provenance=lines, **options)
    if job.thumbnails:
        made["thumbnail"] = store.path("thumbnail", job.id, ".jpg")
        with _put(made["thumbnail"]) as temporary:
            thumbnail(result).save(temporary, format="jpeg", quality=85)
    if job.pages:
        made["page"] = store.path("page", job.id, ".html")
        with _put(made["page"]) as temporary:
            temporary.write_text(page(job, result, record, job.thumbnails), encoding="utf-8")
    return {kind: path.relative_to(store.out).as_posix() for kind, path in made.items()}


@contextmanager
def _put(path: Path) -> Iterator[Path]:
    """Write whole or not at all, without waiting for the disk: what is lost with the power is a picture."""
    temporary = path.with_name(f".{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# The thumbnail.


def thumbnail(result: AlignmentResult) -> Picture.Image:
    """Target, and target (red) over reference (cyan) before and after: what agrees is grey.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    """
    problem = result.problem
    target = _levels(problem.target.data)
    nothing = np.array([1.0 if name.startswith("scale") else 0.0 for name in result.free])
    frames = [np.stack([target] * 3, axis=-1)]
    for x in (nothing, result.x):
        reference = _levels(np.asarray(problem.sample(x), float))
        frames.append(np.stack([target, reference, reference], axis=-1))
    height, width = _size(result)
    gap = np.full((height, 3, 3), 255, np.uint8)
    parts: list[np.ndarray] = []
    for frame in frames:
        # Row 0 is the south.
        picture = Picture.fromarray(frame[::-1]).resize((width, height), Picture.Resampling.BILINEAR)
        parts += [np.asarray(picture), gap]
    return Picture.fromarray(np.concatenate(parts[:-1], axis=1))


def _levels(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    scaled = np.nan_to_num((values - low) / max(high - low, 1e-300), nan=0.0)
    return (255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def _size(result: AlignmentResult) -> tuple[int, int]:
    """Height and width of one picture, with pixels square on the sky."""
    grid = result.problem.target.grid
    ny, nx = grid.shape
    across, along = grid.pixel_size
    ratio = nx * across / (ny * along)
    if ratio * _HEIGHT <= _WIDEST:
        return _HEIGHT, max(round(ratio * _HEIGHT), 8)
    return max(round(_WIDEST / ratio), 8), _WIDEST


# The page.


def page(job: Job, result: AlignmentResult, record: Mapping[str, Any], picture: bool) -> str:
    """Page of a task: what the report of an alignment says, with one small picture instead of its figures."""
    state, name = str(record["state"]), html.escape(job.id)
    facts = [("target", job.target), *(("reference", path) for path in job.references)]
    facts += [("date", record.get("date") or "not known")]
    if record.get("distance") is not None:
        facts.append(("distance from the Sun", f"{record['distance']:.4f} AU"))
    facts += [(key, f"{value:g} {unit}".strip()) for key, (value, unit) in record.get("keywords", {}).items()]
    facts += [("option", f"{key} = {value}") for key, value in job.options.items()]
    facts += [("warning", text) for text in record.get("warnings", ())]
    verdict = "good" if state == "done" else "doubtful"
    body = [
        f'<p><a href="../index.html">All tasks</a></p><h1>{name}: <span class="{verdict}">{state}</span></h1>',
        f"<p>{html.escape(result.message)}</p>",
        f"<p>Score {result.score:.4f} (before: {result.initial_score:.4f}), {result.nfev} evaluations.</p>",
    ]
    if picture:
        words = "Target; target (red) over reference (cyan) before; and after: what agrees is grey"
        body.append(
            f'<figure><img src="../thumbnails/{name}.jpg" alt="{words}"><figcaption>{words}.</figcaption></figure>'
        )
    body += [
        "<h2>Parameters</h2>",
        report.parameters_html(result),
        "<h2>Quality</h2>",
        report.quality_html(result.quality),
        "<h2>Task</h2>",
        report.table_html(("", ""), facts),
        "<h2>Provenance</h2>",
        report.provenance_html(result),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{name}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<style>{report.STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )
