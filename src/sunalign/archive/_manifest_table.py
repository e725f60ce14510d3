"""The table of a manifest: cells by column, whatever wrote the file."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from astropy.io.ascii import InconsistentTableError
from astropy.table import QTable, Table

from sunalign.archive._options import REFUSED, plain_value
from sunalign.exceptions import ManifestError

__all__ = ["cell", "read_columns"]

_NEEDED = ("id", "target")
_RAGGED = re.compile(r"columns \((\d+)\).* columns \((\d+)\) at data line (\d+)")


def read_columns(manifest: Any) -> tuple[Mapping[str, Any], Path, str]:
    """Columns by name, the directory where relative paths start, and what the table is called in messages."""
    if isinstance(manifest, Table):
        table, base, name = manifest, Path.cwd(), "the manifest"
    else:
        path = Path(manifest)
        table, base, name = _read(path), path.resolve().parent, str(path)
    _check_columns(table, name)
    return {column: table[column] for column in table.colnames}, base, name


def cell(column: Any, number: int) -> Any:
    """Plain value of a cell; `None` where it is empty or masked."""
    if getattr(column, "mask", None) is not None and np.any(np.atleast_1d(column.mask)[number]):
        return None
    return plain_value(column[number])


def _read(path: Path) -> Table:
    if not path.is_file():
        what = f"{path} is a directory; give a table." if path.is_dir() else f"There is no file {path}."
        raise ManifestError(path, [what])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(path, ["It is not UTF-8 text; a spreadsheet saves that as 'CSV UTF-8'."]) from error
    if not text.strip():
        raise ManifestError(path, ["It is empty; its first line names the columns, such as id,target,references."])
    try:
        if text.startswith("# %ECSV"):
            return QTable.read(text.splitlines(), format="ascii.ecsv")
        _refuse_doubles(text, path)
        # As text: '007' is no number, and what a cell means is for its column to say.
        return Table.read(text.splitlines(), format="ascii.csv", converters={"*": [_as_text()]}, fill_values=[("", "")])
    except ManifestError:
        raise
    except (ValueError, TypeError, OSError, IndexError, InconsistentTableError) as error:
        raise ManifestError(path, [_unreadable(error)]) from error


def _unreadable(error: Exception) -> str:
    ragged = _RAGGED.search(str(error))
    if ragged is not None:
        named, there, row = map(int, ragged.groups())
        return f"Row {row + 1} has {there} cells, but the first line has {named}; put quotes about commas."
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"It cannot be read as a table in ECSV or CSV: {reason}."


def _refuse_doubles(text: str, path: Path) -> None:
    names = [name.strip() for name in next(csv.reader(text.lstrip().splitlines()[:1]))]
    double = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if double:
        raise ManifestError(path, [f"The column '{name}' stands there twice." for name in double])


def _as_text() -> Any:
    from astropy.io import ascii as tables

    return tables.convert_numpy(str)


def _check_columns(table: Table, name: str) -> None:
    if len(table.colnames) == 1 and re.search(r"[;\t|]", table.colnames[0]):
        raise ManifestError(name, [f"Its only column is {table.colnames[0]!r}: is it separated by commas?"])
    listed = ", ".join(table.colnames)
    faults = [f"It has no column '{needed}'; it has {listed}." for needed in _NEEDED if needed not in table.colnames]
    faults += [_refused(column) for column in table.colnames if column.replace("-", "_") in REFUSED]
    if not faults and not len(table):
        faults = ["It has no row, so there is nothing to do."]
    if faults:
        raise ManifestError(name, faults)


def _refused(column: str) -> str:
    return f"The column '{column}' has no place in a manifest: {REFUSED[column.replace('-', '_')]}."
