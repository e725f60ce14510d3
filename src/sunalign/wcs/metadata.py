"""What goes along with new coordinates: copies of metadata, keywords under their own names, HISTORY."""

from __future__ import annotations

import copy
import importlib.metadata
import textwrap
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import astropy.units as u
from astropy.io import fits

from sunalign.correction import Correction

__all__ = ["add_history", "copied", "history_entry", "update_cards"]


def copied(meta: Any) -> Any:
    """Shallow copy of a mapping, of its own type and with what it remembers (a map's original meta).

    Parameters
    ----------
    meta : mapping
    """
    # `copy` of a dict's subclass may return a plain dict; copy.copy of a map's meta forgets the original.
    own = meta.copy() if hasattr(meta, "copy") else None
    return own if type(own) is type(meta) else copy.copy(meta)


def update_cards(meta: MutableMapping[str, Any], cards: Mapping[str, float]) -> None:
    """Set keywords in place under the names, upper or lower case, that the mapping already has for them.

    Parameters
    ----------
    meta : mapping
        Changed in place.
    cards : mapping
        Numbers by keyword, upper case.
    """
    names = {str(key).upper(): key for key in meta}
    lower = bool(names) and all(key == str(key).lower() for key in names.values())
    for key, value in cards.items():
        meta[names.get(key, key.lower() if lower else key)] = value


def history_entry(correction: Correction, provenance: str | Iterable[str] | None = None) -> str:
    """What HISTORY says about a correction: version, what moved and by how much, pivot, and any further lines.

    Parameters
    ----------
    correction : `~sunalign.Correction`
    provenance : `str` or iterable of `str`, optional
        Further lines: how the correction was found.

    Returns
    -------
    `str`
        Lines of printable ASCII, of any length.
    """
    pivot = ", ".join(f"{value:.3f}" for value in correction.pivot.to_value(u.arcsec))
    lines = [f"sunalign {_version()}: {correction.describe()}", f"sunalign pivot ({pivot}) arcsec"]
    if provenance is not None:
        lines += provenance.splitlines() if isinstance(provenance, str) else list(provenance)
    return "\n".join(_ascii(line) for line in lines)


def add_history(meta: MutableMapping[str, Any], text: str) -> None:
    """Append to the HISTORY of a FITS header, a map's ``meta`` or a `dict`, in place.

    Parameters
    ----------
    meta : mutable mapping
        A `~astropy.io.fits.Header` gains one card or more for every line; anything else keeps one string, whose
        lines become cards when a map is saved.
    text : `str`
        Characters that FITS does not allow are spelt out or replaced by ``?``.
    """
    # Names such as coarse-to-fine stay whole, so that they can be searched for.
    wrapped = [textwrap.wrap(_ascii(line), 72, break_on_hyphens=False) or [""] for line in text.splitlines()]
    lines = [part for parts in wrapped for part in parts]
    if isinstance(meta, fits.Header):
        for line in lines:
            meta.add_history(line)
        return
    upper = bool(meta) and all(str(key) == str(key).upper() for key in meta)
    key = next((key for key in meta if str(key).lower() == "history"), "HISTORY" if upper else "history")
    old = str(meta.get(key) or "").rstrip("\n")
    meta[key] = "\n".join([old, *lines] if old else lines)


def _ascii(line: str) -> str:
    for sign, words in {"±": "+/-", "×": "x", "−": "-", "″": " arcsec", "°": " deg", "µ": "u", "μ": "u"}.items():
        line = line.replace(sign, words)
    return "".join(c if " " <= c <= "~" else "?" for c in line)


@lru_cache
def _version() -> str:
    try:
        return importlib.metadata.version("sunalign")
    except importlib.metadata.PackageNotFoundError:  # a checkout that was never installed
        return "(development)"
