"""The manifest: one row a task, checked whole before the first one runs."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astropy.table import Table

from sunalign.archive._manifest_table import cell, read_columns
from sunalign.archive._options import PLACES, REFUSED, check_options, plain_value
from sunalign.archive._presets import DEFAULT, read_presets
from sunalign.exceptions import ManifestError, PluginError

__all__ = ["Manifest", "Row", "Task", "in_words", "read_manifest"]

_ROW_ONLY = ("id", "target", "preset")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")
_SHOWN = 40  # Letters of an id in a message.


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
    faults: dict[str, list[Row]] = {}
    columns, base, name = read_columns(manifest)
    beneath, preset_base = _presets(presets)
    tasks = []
    for number in range(len(columns["id"])):
        cells = {key.replace("-", "_"): cell(column, number) for key, column in columns.items()}
        row = Row(number + 1, str(cells.get("id") or ""), cells.get("preset"))
        try:
            tasks.append(_task(cells, number + 1, base, beneath, preset_base))
        except (ValueError, TypeError, PluginError) as error:
            for line in str(error).splitlines():
                faults.setdefault(line, []).append(row)
    for task, line in _doubles(tasks):
        faults.setdefault(line, []).append(Row(task.row, task.id))
    by_row = sorted(faults.items(), key=lambda item: item[1][0].number)
    alone = _preset_faults(beneath, preset_base) if faults else {}
    found = [f"{in_words(rows)}{_by_preset(line, rows, alone)}: {line}" for line, rows in by_row]
    found += _unused_faults(beneath, columns, preset_base)
    if found:
        raise ManifestError(name, found)
    return Manifest(name, tuple(tasks))


@dataclass(frozen=True)
class Row:
    """Where a fault is: row of the table from 1, its id and its preset as far as it has them."""

    number: int
    label: str
    preset: Any = None


def in_words(rows: Sequence[Row]) -> str:
    """Rows that share a fault, in words: a wrong preset is a fault of thousands."""
    if len(rows) == 1:
        label = rows[0].label if len(rows[0].label) <= _SHOWN else f"{rows[0].label[:_SHOWN]}..."
        return f"row {rows[0].number} ({label})" if label else f"row {rows[0].number}"
    spans: list[list[int]] = []
    for row in rows:
        if spans and row.number == spans[-1][1] + 1:
            spans[-1][1] = row.number
        else:
            spans.append([row.number, row.number])
    return "rows " + ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


def _by_preset(line: str, rows: Sequence[Row], alone: Mapping[str, set[str]]) -> str:
    """Preset that brought a fault into rows, in words; empty where it is the rows' own."""
    for name, faults in alone.items():
        if line in faults and all(name in (DEFAULT, str(row.preset)) for row in rows):
            return f", by preset '{name}'"
    return ""


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


def _preset_faults(beneath: Mapping[str, dict[str, Any]], base: Path) -> dict[str, set[str]]:
    """What is wrong with presets, whatever the row, by the name of the preset; that of all comes first."""
    return {
        name: {line for count in (1, None) for line in _faults_of_preset(name, beneath, base, count)}
        for name in sorted(beneath, key=lambda name: name != DEFAULT)
    }


def _unused_faults(beneath: Mapping[str, dict[str, Any]], columns: Mapping[str, Any], base: Path) -> list[str]:
    """Faults of presets that no row has, which would come to light with the row that has them."""
    cells = columns.get("preset", ())
    used = {DEFAULT, *(str(cell(cells, number)) for number in range(len(cells)))}
    faults = []
    for name in beneath:
        # Their references are not known, and may be one image or many.
        if name not in used and _faults_of_preset(name, beneath, base, 1):
            found = _faults_of_preset(name, beneath, base, None)
            faults += [f"preset '{name}', which no row has: {line}" for line in found]
    return faults


def _faults_of_preset(
    name: str, beneath: Mapping[str, dict[str, Any]], base: Path, n_references: int | None
) -> list[str]:
    try:
        options, places = _merged({"preset": name}, base, beneath, base)
        _check_places(places | {"references": ["those of a row"]})
        check_options(options, n_references)
    except (ValueError, TypeError, PluginError) as error:
        return str(error).splitlines()
    return []


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
    if name is None:
        faults.append("The id is missing.")
    elif not _ID.fullmatch(name):
        faults.append("The id cannot name files; take 1 to 100 of A-Z, a-z, 0-9 and ._+-, the first no dot or hyphen.")
    if target is None:
        faults.append("The target is missing.")
    try:
        options, places = _merged(cells, base, beneath, preset_base)
        _check_places(places)
        references = tuple(places["references"] or ())
        if target is not None and _absolute(str(target), base) in references:
            raise ValueError("The target is one of its own references; name another image there.")
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
    places: dict[str, Any] = dict.fromkeys(PLACES)
    layers = [(layer, preset_base) for layer in _layers(None if preset is None else str(preset), beneath)]
    for layer, start in [*layers, (cells, base)]:
        given = {key: value for key, value in layer.items() if value is not None}
        if "references" in given and "directory" in given:
            raise ValueError("It has both 'references' and 'directory'; give one of them.")
        # One way to name references takes the place of the other.
        if "references" in given:
            places.update(dict.fromkeys(PLACES), references=_paths(given.pop("references"), start))
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
        from sunalign.files.catalog import checked_gap

        try:
            gap = read_duration(places["max_gap"])
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"'max_gap': {error}.") from error
        checked_gap(gap)


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
