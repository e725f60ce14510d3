"""Arguments of `sunalign.align` as text and plain values, in which they stand in tables, YAML and JSON."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u

__all__ = ["OUTPUT_OPTIONS", "REFUSED", "align_arguments", "check_options", "plain_value"]

#: Options of the file that is written, which `sunalign.align` does not see.
OUTPUT_OPTIONS = ("hdus", "hdu")

#: Arguments of `sunalign.align` that have no place in an archive, and why.
REFUSED = {
    "corrector": "the corrected files are written by 'fits'",
    "n_jobs": "a task runs in one process, and n_jobs belongs to the whole run",
    "on_doubt": "a doubtful answer has its own state",
    "progress": "it belongs to the whole run",
    "reference": "the column is called 'references'",
    "reference_mask": "arrays cannot stand in a table; use reference_limits",
    "target_mask": "arrays cannot stand in a table; use target_limits",
}


def plain_value(value: Any) -> Any:
    """Return a cell of a table, or a value of YAML, as JSON can hold it; `None` for an empty one.

    Parameters
    ----------
    value : object
        Quantities become text with their unit.
    """
    if value is None or value is np.ma.masked or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, u.Quantity):
        return f"{value.value:.17g} {value.unit}"
    if isinstance(value, np.ndarray):
        return [plain_value(item) for item in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value.strip() if isinstance(value, str) else value


def align_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `sunalign.align` for the plain values of a task.

    Parameters
    ----------
    options : mapping
        By the names of `sunalign.align`, as `plain_value` gives them.

    Raises
    ------
    ValueError
        A value cannot be read; the message names it.
    """
    made = {}
    for name, value in options.items():
        if name in OUTPUT_OPTIONS:
            continue
        try:
            made[name] = _READERS.get(name, _loose)(value)
        except (argparse.ArgumentTypeError, TypeError, ValueError, OSError) as error:
            text = str(error)
            raise ValueError(text if name in text else f"'{name}': {text.rstrip('.')}.") from error
    return made


def check_options(options: Mapping[str, Any], n_references: int | None) -> None:
    """Refuse, before any task runs, what `sunalign.align` would refuse of its arguments.

    Parameters
    ----------
    options : mapping
        Plain values.
    n_references : `int` or `None`
        `None` where they are found later.
    """
    builder = "image" if n_references == 1 else "synthetic-raster"
    _check(json.dumps(dict(options), sort_keys=True), builder)


@lru_cache(maxsize=4096)
def _check(options: str, builder: str) -> None:
    from sunalign.abc import Metric, Optimizer, ReferenceBuilder
    from sunalign.alignment.align import align
    from sunalign.alignment.height import height_bounds, split_height
    from sunalign.alignment.inputs import checked_budget, checked_overlap, make_rng
    from sunalign.alignment.options import make_plugins
    from sunalign.alignment.search import free_parameters, limits_of, start_values
    from sunalign.model.intensity import make_scaling
    from sunalign.pointing.fit import split_drift

    given = align_arguments(json.loads(options))
    defaults = {name: p.default for name, p in inspect.signature(align).parameters.items()}
    loose = {name: value for name, value in given.items() if name not in defaults}
    known = defaults | {name: value for name, value in given.items() if name in defaults}

    choices: dict[Any, Any] = {
        Metric: known["metric"],
        Optimizer: known["optimizer"],
        ReferenceBuilder: known["reference_builder"] or builder,
    }
    _check_numbers(choices, loose)
    plugins = make_plugins(choices, loose)
    make_scaling(known["scaling"] or plugins[Metric].scaling)
    fit, height = split_height(split_drift(known["fit"])[0])
    bounds = height_bounds(known["bounds"])[0] if height else known["bounds"]
    start = known["start"] if isinstance(known["start"], Mapping) else None
    limits_of(free_parameters(fit), start_values(start, (0, 0) * u.arcsec), known["max_shift"], bounds)
    checked_budget(known["max_evaluations"])
    checked_overlap(known["min_overlap"])
    make_rng(known["rng"])
    if known["working_grid"] not in ("target", "reference"):
        raise ValueError(f"'working_grid' is 'target' or 'reference'; got {known['working_grid']!r}.")


def _check_numbers(choices: Mapping[Any, Any], loose: Mapping[str, Any]) -> None:
    """Refuse words where the options of a plugin are numbers: it compares them before it looks at what they are."""
    from sunalign.registry import resolve

    for kind, choice in choices.items():
        parameters = inspect.signature(resolve(kind, choice)).parameters
        for name in loose.keys() & parameters.keys():
            default, wanted = parameters[name].default, str(parameters[name].annotation)
            number = isinstance(default, (int, float)) and not isinstance(default, bool)
            if number and isinstance(loose[name], str) and "str" not in wanted:
                what = "a whole number" if isinstance(default, int) else "a number"
                raise ValueError(f"'{name}' is {what} such as {default}, which is its default; got {loose[name]!r}.")


# Readers of single values. The command line has the same words for them.


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(word for word in re.split(r"[,;\s]+", value) if word)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError(f"names such as shift,scale are needed; got {value!r}")


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a name is needed; got {value!r}")
    return value


def _angle(value: Any) -> u.Quantity:
    from sunalign._command_line import read_angle as read

    return read(str(value))


def _duration(value: Any) -> u.Quantity:
    from sunalign._command_line import read_duration as read

    return read(str(value))


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        number = _loose(value)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or kind(number) != number:
            raise ValueError(f"{'a whole number' if kind is int else 'a number'} is needed; got {value!r}")
        return kind(number)

    return read


def _pairs(value: Any) -> dict[str, tuple[Any, ...]]:
    from sunalign._command_line import read_bounds as read

    if isinstance(value, str):
        return dict(read(part) for part in re.split(r"[;\s]+(?=[a-z_]+\s*=)", value) if part)
    if not isinstance(value, Mapping):
        raise ValueError(f"bounds are NAME=LOW,HIGH, such as rotation=-1deg,1deg; got {value!r}")
    texts = {name: pair if isinstance(pair, str) else ",".join(map(str, pair)) for name, pair in value.items()}
    return dict(read(f"{name}={text}") for name, text in texts.items())


def _limits(value: Any) -> tuple[Any, ...]:
    parts = value.strip("()[] ").split(",") if isinstance(value, str) else list(value)
    limits = tuple(None if str(part).strip() in ("", "None", "null") else float(part) for part in parts)
    if len(limits) != 2:
        raise ValueError(f"limits are two numbers such as 10,500, or 10,None; got {value!r}")
    return limits


def _pair_of_angles(value: Any) -> u.Quantity:
    parts = value.split(",") if isinstance(value, str) else list(value)
    if len(parts) != 2:
        raise ValueError(f"two angles are needed, such as 100arcsec,-200arcsec; got {value!r}")
    return u.Quantity([_angle(part) for part in parts])


def _start(value: Any) -> Any:
    """Parameters by name, or the path of a correction or of a table against time."""
    if isinstance(value, Mapping):
        return {name: _loose(item) for name, item in value.items()}
    text = str(value)
    if "=" not in text:
        if not Path(text).is_file():
            raise ValueError(f"there is no file {text}; start is NAME=VALUE, or a correction or a table in a file")
        return text
    pairs = [part.partition("=") for part in re.split(r"[;,\s]+(?=[a-z_]+\s*=)", text) if part]
    return {name.strip(): _loose(item.strip()) for name, _, item in pairs}


def _pointing(value: Any) -> str:
    """Whether the tables of the file itself are looked at; others are objects of Python."""
    if value not in ("file", "ignore"):
        raise ValueError(f"'file' or 'ignore' is needed, for the tables that the target itself carries; got {value!r}")
    return str(value)


def _loose(value: Any) -> Any:
    from sunalign._command_line import read_value as read

    if isinstance(value, list):
        return tuple(_loose(item) for item in value)
    return read(value) if isinstance(value, str) else value


_READERS: dict[str, Callable[[Any], Any]] = {
    "fit": _names,
    "metric": _word,
    "optimizer": _word,
    "reference_builder": _word,
    "scaling": _word,
    "working_grid": _word,
    "max_shift": _angle,
    "bounds": _pairs,
    "start": _start,
    "pivot": _pair_of_angles,
    "pointing": _pointing,
    "drift_time": _duration,
    "drift_knots": _number(int),
    "drift_prior": _angle,
    "target_limits": _limits,
    "reference_limits": _limits,
    "min_overlap": _number(float),
    "max_evaluations": _number(int),
    "rng": _number(int),
}
