"""Loose keywords of a sequence, refused at once where nothing has a use for them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from sunalign.abc import Metric, Optimizer, ReferenceBuilder
from sunalign.alignment.align import align
from sunalign.alignment.options import make_plugins

__all__ = ["check_options"]

#: Keywords of `sunalign.align` that comparisons by it may be given.
_OF_ALIGN = {p.name for p in inspect.signature(align).parameters.values() if p.kind is p.KEYWORD_ONLY}


def check_options(metric: Any, optimizer: Any, options: Mapping[str, Any], reserved: Iterable[str]) -> None:
    """Refuse a keyword that is neither `sunalign.align`'s nor an option of a chosen plugin.

    Parameters
    ----------
    metric, optimizer : `str`, class or instance
        Plugins that were chosen.
    options : mapping
        Loose keywords.
    reserved : iterable of `str`
        Keywords that a misspelt one may have meant.

    Raises
    ------
    TypeError
        Nothing has a keyword of this name; the nearest one is named.
    """
    builder = options.get("reference_builder") or "image"
    choices = {Metric: metric, Optimizer: optimizer, ReferenceBuilder: builder}
    loose = {name: value for name, value in options.items() if name not in _OF_ALIGN}
    make_plugins(choices, loose, reserved={*reserved, *_OF_ALIGN})
