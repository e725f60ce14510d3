"""The manifest: one row a task, checked whole before the first one runs."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from astropy.table import QTable, Table

from sunalign.archive._options import REFUSED, check_options, plain_value
from sunalign.archive._presets import DEFAULT, read_presets
from sunalign.exceptions import ManifestError, PluginError

__all__ = ["Manifest", "Task", "read_manifest"]

_PLACES = ("references", "directory", "detector", "max_gap")
_ROW_ONLY = ("id", "target", "preset")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class Task:
    """One alignment of an archive.

    Parameters
    ----------
    id : `str`
        Names its files.
    target : `str`
        Absolute path.
    references : `tuple` of `str`
        Absolute paths; empty where they are sought in ``directory``.
    directory, detector, max_gap : `str`, optional
        Where to look for references, of which detector, and the longest time without one, such as ``20min``.
    options : mapping
        Arguments of `sunalign.align` and options of plugins, as plain values.
    row : `int`
        Of the manifest, from 1.
    """

    id: str
    target: str
    references: tuple[str, ...] = ()
    directory: str | None = None
    detector: str | None = None
    max_gap: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    row: int = 0


@dataclass(frozen=True)
class Manifest:
    """All tasks of an archive, in the order of the table.

    Parameters
    ----------
    path : `str`
        Of the file, or what stands for it in messages.
    tasks : `tuple` of `Task`
    """

    path: str
    tasks: tuple[Task, ...]

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)


def read_manifest(
    manifest: str | os.PathLike[str] | Table,
    presets: str | os.PathLike[str] | Mapping[str, Mapping[str, Any]] | None = None,
) -> Manifest:
    """Read a manifest, and check all of it.

    Parameters
    ----------
    manifest : path or `~astropy.table.Table`
        ECSV or CSV with the columns ``id`` and ``target``, and ``references`` (paths, separated by semicolons) or
        ``directory`` and ``detector`` (and ``max_gap``) where references are to be sought by time. ``preset`` names a
        preset. Every other column is named like an argument of `sunalign.align`, or an option of a plugin; an empty
        cell leaves it to the preset. Units stand in the text, such as ``60arcsec``, or in the header of ECSV. Relative
        paths start at the file's directory.
    presets : path or mapping, optional
        YAML: options by the name of their preset. What ``default`` has lies beneath every other.

    Returns
    -------
    `Manifest`

    Raises
    ------
    ~sunalign.exceptions.ManifestError
        Every fault with its row. That a file is missing is none: such a task fails, and the others run.
    """
    faults: dict[str, list[tuple[int, str]]] = {}
    table, base, name = _table(manifest)
    beneath, preset_base = _presets(presets)
    _check_columns(table, name)
    tasks = []
    columns = {key: table[key] for key in table.colnames}
    for number in range(len(table)):
        cells = {key.replace("-", "_"): _cell(column, number) for key, column in columns.items()}
        label = str(cells.get("id") or "")
        try:
            tasks.append(_task(cells, number + 1, base, beneath, preset_base))
        except (ValueError, TypeError, PluginError) as error:
            for line in str(error).splitlines():
                faults.setdefault(line, []).append((number + 1, label))
    for task, line in _doubles(tasks):
        faults.setdefault(line, []).append((task.row, task.id))
    found = [f"{_rows(rows)}: {line}" for line, rows in sorted(faults.items(), key=lambda item: item[1][0][0])]
    found += _unused_faults(beneath, columns, preset_base)
    if found:
        raise ManifestError(name, found)
    return Manifest(name, tuple(tasks))


def _rows(rows: Sequence[tuple[int, str]]) -> str:
    """Rows that share a fault, in words: a wrong preset is a fault of thousands."""
    if len(rows) == 1:
        number, label = rows[0]
        return f"row {number} ({label})" if label else f"row {number}"
    spans: list[list[int]] = []
    for number, _ in rows:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return "rows " + ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


# The table.


def _table(manifest: Any) -> tuple[Table, Path, str]:
    if isinstance(manifest, Table):
        return manifest, Path.cwd(), "the manifest"
    path = Path(manifest)
    if not path.is_file():
        raise ManifestError(path, [f"There is no file {path}."])
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            raise ManifestError(path, ["It is empty; its first line names the columns, such as id,target,references."])
        if text.startswith("# %ECSV"):
            table = QTable.read(text.splitlines(), format="ascii.ecsv")
        else:
            # As text: '007' is no number, and what a cell means is for its column to say.
            table = Table.read(
                text.splitlines(), format="ascii.csv", converters={"*": [_as_text()]}, fill_values=[("", "")]
            )
    except ManifestError:
        raise
    except (ValueError, TypeError, OSError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ManifestError(path, [f"It cannot be read as a table in ECSV or CSV: {reason}."]) from error
    return table, path.resolve().parent, str(path)


def _as_text() -> Any:
    from astropy.io import ascii as tables

    return tables.convert_numpy(str)


def _cell(column: Any, number: int) -> Any:
    if getattr(column, "mask", None) is not None and np.any(np.atleast_1d(column.mask)[number]):
        return None
    return plain_value(column[number])


def _check_columns(table: Table, name: str) -> None:
    if len(table.colnames) == 1 and re.search(r"[;\t|]", table.colnames[0]):
        raise ManifestError(name, [f"Its only column is {table.colnames[0]!r}: is it separated by commas?"])
    faults = [f"It has no column '{needed}'." for needed in ("id", "target") if needed not in table.colnames]
    faults += [_refused(column) for column in table.colnames if column.replace("-", "_") in REFUSED]
    if not faults and not len(table):
        faults = ["It has no row, so there is nothing to do."]
    if faults:
        raise ManifestError(name, faults)


def _refused(column: str) -> str:
    return f"The column '{column}' has no place in a manifest: {REFUSED[column.replace('-', '_')]}."


# Presets.


def _presets(presets: Any) -> tuple[dict[str, dict[str, Any]], Path]:
    if presets is None:
        return {}, Path.cwd()
    if isinstance(presets, Mapping):
        found = {name: {k: plain_value(v) for k, v in options.items()} for name, options in presets.items()}
        base, where = Path.cwd(), "the presets"
    else:
        found, base, where = read_presets(presets), Path(presets).resolve().parent, str(presets)
    faults = []
    for name, options in found.items():
        faults += [f"preset '{name}': '{key}' belongs in the manifest." for key in _ROW_ONLY if key in options]
        faults += [f"preset '{name}': '{key}' has no place there: {REFUSED[key]}." for key in options if key in REFUSED]
    if faults:
        raise ManifestError(where, faults)
    return found, base


def _unused_faults(beneath: Mapping[str, dict[str, Any]], columns: Mapping[str, Any], base: Path) -> list[str]:
    """Faults of presets that no row has, which would come to light with the row that has them."""
    cells = columns.get("preset", ())
    used = {DEFAULT, *(str(_cell(cells, number)) for number in range(len(cells)))}
    faults = []
    for name in beneath:
        if name in used:
            continue
        try:
            options, places = _merged({"preset": name}, base, beneath, base)
            _check_places(places | {"references": ["those of a row"]})
            _check_unused(options)
        except (ValueError, TypeError, PluginError) as error:
            faults.append(f"preset '{name}', which no row has: {error}")
    return faults


def _check_unused(options: Mapping[str, Any]) -> None:
    """Check options whose references are not known: they may be those of one image or of many."""
    try:
        check_options(options, 1)
    except (ValueError, TypeError, PluginError):
        check_options(options, None)


def _layers(preset: str | None, beneath: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Options from below: those of ``default``, then of the preset that was named."""
    if preset is not None and preset not in beneath:
        near = difflib.get_close_matches(preset, beneath, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        listed = ", ".join(f"'{name}'" for name in beneath) or "none"
        raise ValueError(f"There is no preset '{preset}'.{hint} There are: {listed}.")
    names = dict.fromkeys([DEFAULT, preset or DEFAULT])
    return [beneath[name] for name in names if name in beneath]


# One row.


def _task(
    cells: dict[str, Any], row: int, base: Path, beneath: Mapping[str, dict[str, Any]], preset_base: Path
) -> Task:
    faults = []
    name, target = cells.pop("id", None), cells.pop("target", None)
    name = None if name is None else str(name)
    if name is None or not _ID.fullmatch(name):
        faults.append(
            "The id is missing." if name is None else
            f"The id {name!r} names files: up to 100 letters, digits and ._+-, the first of them no dot or hyphen."
        )  # fmt: skip
    if target is None:
        faults.append("The target is missing.")
    try:
        options, places = _merged(cells, base, beneath, preset_base)
        _check_places(places)
        references = tuple(places["references"] or ())
        check_options(options, len(references) or None)
    except (ValueError, TypeError, PluginError) as error:
        faults.append(str(error))
    if faults:
        raise ValueError("\n".join(faults))
    return Task(
        id=str(name),
        target=_absolute(str(target), base),
        references=references,
        directory=places["directory"],
        detector=places["detector"],
        max_gap=places["max_gap"],
        options=options,
        row=row,
    )


def _merged(
    cells: dict[str, Any], base: Path, beneath: Mapping[str, dict[str, Any]], preset_base: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options, and where the references are: presets below, the row above."""
    preset = cells.pop("preset", None)
    options: dict[str, Any] = {}
    places: dict[str, Any] = dict.fromkeys(_PLACES)
    layers = [(layer, preset_base) for layer in _layers(None if preset is None else str(preset), beneath)]
    for layer, start in [*layers, (cells, base)]:
        given = {key: value for key, value in layer.items() if value is not None}
        if "references" in given and "directory" in given:
            raise ValueError("It has both 'references' and 'directory'; give one of them.")
        # One way to name references takes the place of the other.
        if "references" in given:
            places.update(dict.fromkeys(_PLACES), references=_paths(given.pop("references"), start))
        if "directory" in given:
            places.update(references=None, directory=_absolute(str(given.pop("directory")), start))
        places.update({key: str(given.pop(key)) for key in ("detector", "max_gap") if key in given})
        if isinstance(given.get("start"), str) and "=" not in given["start"]:
            given["start"] = _absolute(given["start"], start)
        options.update(given)
    return options, places


def _paths(value: Any, base: Path) -> list[str]:
    texts = value.split(";") if isinstance(value, str) else list(value)
    return [_absolute(str(text).strip(), base) for text in texts if str(text).strip()]


def _absolute(path: str, base: Path) -> str:
    # Not resolved: people arrange archives with links, and want to read their own names.
    return os.path.normpath(base / Path(path).expanduser())


def _check_places(places: Mapping[str, Any]) -> None:
    if places["references"] is None and places["directory"] is None:
        raise ValueError("It has neither 'references' nor 'directory'; give one of them.")
    if places["references"] is not None and not places["references"]:
        raise ValueError("Its 'references' are empty.")
    if places["max_gap"] is not None:
        from sunalign._command_line import read_duration

        try:
            read_duration(places["max_gap"])
        except Exception as error:
            raise ValueError(f"'max_gap': {error}.") from error


def _doubles(tasks: Sequence[Task]) -> list[tuple[Task, str]]:
    faults: list[tuple[Task, str]] = []
    seen: dict[str, Task] = {}
    for task in tasks:
        # Some file systems take upper and lower case for the same.
        first = seen.setdefault(task.id.casefold(), task)
        if first.id == task.id and first is not task:
            faults.append((task, f"The id stands in row {first.row} already."))
        elif first is not task:
            words = f"The id differs from '{first.id}' of row {first.row} only in upper and lower case"
            faults.append((task, f"{words}, which some file systems take for the same; choose another."))
    return faults
