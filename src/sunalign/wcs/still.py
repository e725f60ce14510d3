"""Headers whose raster axis has no extent on the sky, as of a sit-and-stare: CDELT of 0, which no WCS library takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sunalign.geometry.date_forms import is_time_axis
from sunalign.wcs.header import card_of
from sunalign.wcs.metadata import copied, update_cards

__all__ = ["ACROSS", "has_no_extent", "with_extent"]

#: Keywords that say how far, and whereto, a step along the raster axis goes.
ACROSS = ("CDELT1", "PC1_1", "PC2_1", "CD1_1", "CD2_1")

#: Slit pixels that a step is made of: far enough that exposures laid side by side are not binned together.
_PITCH = 4.0


def has_no_extent(header: Mapping[str, Any]) -> bool:
    """Whether the first pixel axis of a header, of solar longitude, leads nowhere because the slit stood still.

    So it says by its study type or by times that run along that axis; a CDELT of 0 alone is a fault.

    Parameters
    ----------
    header : mapping
    """
    if str(card_of(header, "CTYPE1", ""))[2:4].upper() != "LN" or not _stares(header):
        return False
    matrix = [card_of(header, f"CD{k}_1") for k in (1, 2)]
    if any(value is not None for value in matrix):
        return all(not value for value in matrix)
    return bool(card_of(header, "CDELT1", 1.0) == 0)


def _stares(header: Mapping[str, Any]) -> bool:
    if str(card_of(header, "STUDYTYP", "")).lower().startswith("sit"):
        return True
    return any(
        is_time_axis(str(card_of(header, f"CTYPE{i}", "")))
        and any(card_of(header, f"{name}{i}_1", 0.0) not in (0, 0.0) for name in ("PC", "CD"))
        for i in range(3, 6)
    )


def with_extent(header: Mapping[str, Any]) -> Any:
    """Copy of a header, of its own type, whose raster axis leads across the slit at a right angle to it.

    Parameters
    ----------
    header : mapping
        For which `has_no_extent` is true.
    """
    wide = copied(header)
    step = float(card_of(header, "CDELT2", 1.0))
    if card_of(header, "CD1_2") is not None or card_of(header, "CD2_2") is not None:
        along = np.array([float(card_of(header, f"CD{k}_2", 0.0)) for k in (1, 2)])
        cards = {"CD1_1": _PITCH * along[1], "CD2_1": -_PITCH * along[0]}
    else:
        turn = np.radians(float(card_of(header, "CROTA2", 0.0)))
        along = np.array(
            [float(card_of(header, "PC1_2", -np.sin(turn))), float(card_of(header, "PC2_2", np.cos(turn)))]
        )
        cards = {"CDELT1": step, "CDELT2": step, "PC1_1": _PITCH * along[1], "PC2_1": -_PITCH * along[0],
                 "PC1_2": along[0], "PC2_2": along[1]}  # fmt: skip
        for key in [key for key in wide if str(key).upper().startswith("CROTA")]:
            del wide[key]
    update_cards(wide, cards)
    return wide
