"""Write a solution in the convention of a header: PC and CDELT, CD, or CDELT and CROTA."""

from __future__ import annotations

from typing import Any

import numpy as np

import astropy.units as u

from sunalign.geometry.coordinates import angles
from sunalign.wcs.header import has_matrix
from sunalign.wcs.sky_part import SkyPart
from sunalign.wcs.solve import NEGLIGIBLE, Solution, near

__all__ = ["convention", "crota_keyword", "keywords"]


def keywords(
    values: dict[str, Any],
    part: SkyPart,
    solution: Solution,
    *,
    units: tuple[u.UnitBase, u.UnitBase],
    crota_key: str | None = None,
) -> dict[str, float]:
    """Keywords that say a solution, in the convention of a header.

    Parameters
    ----------
    values : mapping
        The header, upper-case keys.
    part : `SkyPart`
        What it said.
    solution : `Solution`
        What it shall say.
    units : `tuple` of unit
        Those of the longitude and latitude axes.
    crota_key : `str`, optional
        Keyword that is the rotation where there is neither PC nor CD; that of the latitude axis by default, and none
        if it is empty.

    Returns
    -------
    `dict`
        Upper-case keyword to value; only what differs from ``values``.
    """
    per_unit = np.array([unit.to(u.deg) for unit in units])
    crota_key = crota_keyword(part) if crota_key is None else crota_key
    least = NEGLIGIBLE * float(np.abs(part.rows).max())
    new: dict[str, float] = {
        f"CRVAL{axis + 1}": solution.part.crval[k] / per_unit[k]
        for k, axis in enumerate(part.axes)
        if abs(solution.part.crval[k] - part.crval[k]) > least
    }
    if not np.array_equal(solution.linear, np.eye(2)):
        old, rows = (p.rows / per_unit[:, None] for p in (part, solution.part))
        write = {"pc": _pc_cards, "cd": _cd_cards, "crota": _cdelt_cards}[convention(values, crota_key)]
        reach = max(float(np.abs(solution.pixels - part.crpix[:, None]).max()), 1.0)
        new |= write(values, part, old, rows, NEGLIGIBLE / reach)
        new |= _roll_cards(values, part, solution.part, crota_key)
    new |= _centre_cards(values, part, solution, units)
    new |= _pole_cards(values, part, solution)
    return {key: float(value) for key, value in new.items() if values.get(key) != float(value)}


def convention(values: dict[str, Any], crota_key: str) -> str:
    """How a header says its linear part: "pc", "cd" or "crota".

    Parameters
    ----------
    values : `dict`
        As from `~sunalign.wcs.header.plain_values`.
    crota_key : `str`
        Keyword of the rotation, as from `crota_keyword`.
    """
    if has_matrix(values, "PC"):
        return "pc"
    if has_matrix(values, "CD"):
        return "cd"
    # Without any of them a rotation, once needed, is written as PC.
    return "crota" if crota_key in values else "pc"


def crota_keyword(part: SkyPart) -> str:
    """CROTA of the latitude axis, the one that the standard knows.

    Parameters
    ----------
    part : `~sunalign.wcs.sky_part.SkyPart`
    """
    return f"CROTA{part.axes[1] + 1}"


def _cdelt_cards(
    values: dict[str, Any], part: SkyPart, old: np.ndarray, new: np.ndarray, least: float
) -> dict[str, float]:
    """CDELT of both rows, multiplied by what happened to the length of the pixel axis of the same number."""
    before, after = (np.hypot(*rows[:, list(part.axes)]) for rows in (old, new))
    ratio = np.divide(after, before, out=np.ones(2), where=before > 0)
    cdelts = {f"CDELT{axis + 1}": ratio[k] for k, axis in enumerate(part.axes) if abs(ratio[k] - 1) > least}
    return {key: float(values.get(key, 1.0)) * factor for key, factor in cdelts.items()}


def _pc_cards(
    values: dict[str, Any], part: SkyPart, old: np.ndarray, new: np.ndarray, least: float
) -> dict[str, float]:
    cards = _cdelt_cards(values, part, old, new, least)
    cdelt = np.array([float((values | cards).get(f"CDELT{axis + 1}", 1.0)) for axis in part.axes])
    pc = np.divide(new, cdelt[:, None], out=np.zeros_like(new), where=cdelt[:, None] != 0)
    default = np.array([np.arange(new.shape[1]) == axis for axis in part.axes], float)
    turned = _matrix_cards("PC", values, part, pc, default, least)
    if turned and not has_matrix(values, "PC"):
        # Four keywords where there were none: a lone PC1_2 is right but reads as a mistake.
        block = {f"PC{i + 1}_{j + 1}": pc[k, j] for k, i in enumerate(part.axes) for j in part.axes}
        turned = block | turned
    return cards | turned


def _cd_cards(
    values: dict[str, Any], part: SkyPart, old: np.ndarray, new: np.ndarray, least: float
) -> dict[str, float]:
    cards = _matrix_cards("CD", values, part, new, np.zeros_like(new), least * float(np.abs(new).max()))
    # CDELT beside CD has no meaning in the standard; where it is there, people read it.
    beside = _cdelt_cards(values, part, old, new, least)
    return cards | {key: value for key, value in beside.items() if key in values}


def _matrix_cards(
    name: str, values: dict[str, Any], part: SkyPart, matrix: np.ndarray, default: np.ndarray, least: float
) -> dict[str, float]:
    return {
        key: matrix[k, j]
        for k, axis in enumerate(part.axes)
        for j in range(matrix.shape[1])
        if abs(matrix[k, j] - float(values.get(key := f"{name}{axis + 1}_{j + 1}", default[k, j]))) > least
    }


def _roll_cards(values: dict[str, Any], old: SkyPart, new: SkyPart, crota_key: str) -> dict[str, float]:
    """Every CROTA there is, turned with the pixel axes, whether it defines the rotation or only repeats it."""
    before, after = (part.rows[:, list(part.axes)] for part in (old, new))
    cross = before[0] * after[1] - before[1] * after[0]
    turn = float(np.degrees(np.arctan2(cross, (before * after).sum(axis=0)).mean()))
    signs = np.sign([float(values.get(f"CDELT{axis + 1}", 1.0)) for axis in old.axes])
    roll = float(np.degrees(np.arctan2(signs[0] * before[1, 0], signs[0] * before[0, 0])))
    cards = {}
    for key in ("CROTA", "CROTA1", "CROTA2", crota_key):
        if key in values:
            value = float(values[key])
            # Some pipelines count the repeated angle the other way round.
            opposite = key != crota_key and abs(value + roll) < abs(value - roll)
            cards[key] = value - turn if opposite else value + turn
    return cards


def _centre_cards(
    values: dict[str, Any], part: SkyPart, solution: Solution, units: tuple[u.UnitBase, u.UnitBase]
) -> dict[str, float]:
    """XCEN and YCEN, where present, moved with the centre of the field."""
    if not {"XCEN", "YCEN"} <= values.keys():
        return {}
    centre = solution.pixels.mean(axis=1, keepdims=True)
    old, new = (np.degrees(np.ravel(angles(p.to_sky(p.to_plane(centre))))) for p in (part, solution.part))
    written = np.array([float(values["XCEN"]), float(values["YCEN"])])
    # The keywords are in arcsec by habit, or in the units of the axes: whichever agrees with the old coordinates.
    choices = [np.array([u.deg.to(unit) for unit in pair]) for pair in (units, (u.arcsec, u.arcsec))]
    factor = min(choices, key=lambda f: float(np.abs(written - old * f).max() / f.max()))
    moved = written + (near(new, old) - old) * factor
    return {"XCEN": moved[0], "YCEN": moved[1]}


def _pole_cards(values: dict[str, Any], part: SkyPart, solution: Solution) -> dict[str, float]:
    cards: dict[str, float] = {}
    if "LONPOLE" in values and solution.part.pole != part.pole:
        cards["LONPOLE"] = solution.part.pole
    # In a zenithal projection LATPOLE has no say and repeats CRVAL2, as wcslib and SPICE write it.
    repeats = "LATPOLE" in values and abs(float(values["LATPOLE"]) - part.crval[1]) < 1e-9
    if repeats and part.zenithal:
        cards["LATPOLE"] = solution.part.crval[1]
    return cards
