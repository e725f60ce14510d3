"""Presets: named sets of options in YAML, so that a row says only what is special about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sunalign.archive._options import plain_value
from sunalign.exceptions import ManifestError

__all__ = ["DEFAULT", "read_presets"]

#: The preset that lies beneath all others.
DEFAULT = "default"


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would silently take the last."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands there twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_presets(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Options by the name of their preset, as plain values.

    Parameters
    ----------
    path : path-like
        YAML file.

    Raises
    ------
    ~sunalign.exceptions.ManifestError
        Lists all that is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(path, [f"There is no file {path}."])
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f"line {where.line + 1}: "
        problem = getattr(error, "problem", None) or "it is not UTF-8 text"
        raise ManifestError(path, [f"{line}it cannot be read as YAML: {problem}."]) from error
    if not isinstance(document, Mapping) or not all(isinstance(v, Mapping) for v in document.values()):
        raise ManifestError(
            path, ["It has to hold presets by name, each with options by name, such as 'default: {fit: shift}'."]
        )
    return {
        str(name): {str(key).replace("-", "_"): plain_value(value) for key, value in options.items()}
        for name, options in document.items()
    }
