"""Corrector of maps and of bare arrays with a header or a FITS WCS."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import astropy.units as u
from astropy.wcs import WCS, WcsError

from sunpy.map import GenericMap
from sunpy.util.exceptions import SunpyMetadataWarning

from sunalign.abc import Corrector
from sunalign.correction import Correction
from sunalign.exceptions import CorrectionError
from sunalign.wcs.copies import own_uncertainty
from sunalign.wcs.distortion import misread_by_map
from sunalign.wcs.header import plain_values
from sunalign.wcs.keywords import keywords
from sunalign.wcs.metadata import add_history, copied, history_entry, update_cards
from sunalign.wcs.plausible import impossible_scales, standing_still, unusable
from sunalign.wcs.readable import STOPS_AT_A_DATE, quiet_about_metadata, readable_map
from sunalign.wcs.refit import refit
from sunalign.wcs.sky_part import SkyPart
from sunalign.wcs.solve import Solution, check_residual, is_nothing, sample_pixels, solve

__all__ = ["WCSCorrector", "check_tolerance", "corrected_wcs"]

_PER_PIXEL = u.deg / u.pix


@dataclass(frozen=True, kw_only=True)
class WCSCorrector(Corrector):
    """Correct a `~sunpy.map.GenericMap`, ``(data, header)`` or ``(data, wcs)``.

    CRVAL and the linear part are refitted in the header's own convention (PC and CDELT, CD, or CDELT and CROTA);
    CRPIX and the data never change.

    Parameters
    ----------
    tolerance : `float`
        Largest error of the written coordinates, in pixels; more is refused.
    """

    tolerance: float = 0.1

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    @classmethod
    def accepts(cls, target: Any) -> bool:
        return isinstance(target, GenericMap) or (isinstance(target, tuple) and len(target) == 2)

    def apply(self, target: Any, correction: Correction, *, provenance: str | None = None) -> Any:
        history = history_entry(correction, provenance)
        if isinstance(target, GenericMap):
            return self._map(target, correction, history)
        if isinstance(target, tuple) and len(target) == 2:
            data, coordinates = target
            if isinstance(coordinates, WCS):
                return data, corrected_wcs(coordinates, correction, np.shape(data), self.tolerance)[0]
            if isinstance(coordinates, MutableMapping):
                cards, _ = refit(coordinates, correction, np.shape(data), self.tolerance)
                header = copied(coordinates)
                update_cards(header, cards)
                add_history(header, history)
                return data, header
        raise CorrectionError(
            f"The 'wcs' corrector takes a sunpy Map, (data, header) or (data, wcs); got {type(target).__name__}. "
            f"An NDCube is for 'ndcube', a path for 'fits'."
        )

    def _map(self, target: GenericMap, correction: Correction, history: str) -> GenericMap:
        cards: dict[str, float] = {}
        if misread_by_map(target.meta):
            cards = refit(target.meta, correction, target.data.shape, self.tolerance)[0]
        elif not is_nothing(correction):
            part, sharp = _map_part(target)
            solution = solve(part, correction, sample_pixels(part, target.data.shape))
            cards, residual = _map_cards(target, part, sharp, solution)
            check_residual(residual, self.tolerance, crota=_map_crota_key(target) is not None)
        corrected = _with_cards(target, cards)
        add_history(corrected.meta, history)
        return corrected


def check_tolerance(tolerance: float) -> None:
    """Raise `ValueError` unless a tolerance is a positive number of pixels.

    Parameters
    ----------
    tolerance : `float`
        Largest error of the coordinates that are written, in pixels.
    """
    if not tolerance > 0:
        raise ValueError(f"'tolerance' is a number of pixels larger than 0; got {tolerance!r}.")


def corrected_wcs(wcs: WCS, correction: Correction, shape: Sequence[int], tolerance: float = 0.1) -> tuple[WCS, float]:
    """Copy of a FITS WCS of any number of axes with a correction written in, and the residual in pixels.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
    correction : `~sunalign.Correction`
    shape : sequence of `int`
        Array shape of the data.
    tolerance : `float`
        Largest residual allowed, in pixels.
    """
    part = SkyPart.from_wcs(wcs)  # first, because a WCS that cannot be used cannot even be copied
    new = wcs.deepcopy()
    if is_nothing(correction):
        return new, 0.0
    solution = solve(part, correction, sample_pixels(part, shape))
    new.wcs.set()  # to degrees, as the solution is
    crota = new.wcs.has_crota() and not (new.wcs.has_pc() or new.wcs.has_cd())
    values = _wcs_values(new, crota)
    cards = keywords(values, part, solution, units=(u.deg, u.deg))
    new.wcs.lonpole = solution.part.pole
    _set_keywords(new, values | cards, crota)
    residual = solution.residual(SkyPart.from_wcs(new))
    check_residual(residual, tolerance, crota=crota)
    return new, residual


def _map_part(target: GenericMap) -> tuple[SkyPart, bool]:
    """What sunpy reads from a map, to the last digit where that is possible; and whether it is.

    A map's ``wcs`` has been through a header of 12 digits, and knows neither LONPOLE nor LATPOLE.
    """
    still = standing_still(target.meta, "The map")
    if still is not None:
        raise CorrectionError(still)
    with warnings.catch_warnings():
        # Neither the observer nor the date matters here.
        warnings.filterwarnings("ignore", "Missing metadata for observ", SunpyMetadataWarning)
        try:
            read = replace(SkyPart.from_wcs(_wcs_of(target), "The map", plausible=False), lonpole=np.nan, latpole=90.0)
        except WcsError as error:  # the map's own copy of it
            raise CorrectionError(unusable(target.meta, "The map")) from error
    if read.axes != (0, 1):
        return read, False
    sharp = _sharp_part(target, read)
    pairs = ((sharp.rows, read.rows), (sharp.crpix, read.crpix), (sharp.crval, read.crval))
    same = all(bool((np.abs(a - b) <= 1e-11 + 1e-9 * np.abs(b)).all()) for a, b in pairs)
    return (sharp, True) if same else (read, False)


def _sharp_part(target: GenericMap, read: SkyPart) -> SkyPart:
    """What the properties of a map, from which sunpy makes its ``wcs``, say; the rest as it was read."""
    per_unit = np.array([unit.to(u.deg) for unit in target.spatial_units])
    scale = np.array([s.to_value(_PER_PIXEL) for s in target.scale])
    rows = scale[:, None] * np.asarray(target.rotation_matrix, float)
    # Sources that take their scale from other keywords have units of their own.
    if type(target).scale is GenericMap.scale and (bad := impossible_scales(rows, None, (0, 1), "The map")) is not None:
        raise CorrectionError(bad)
    return replace(
        read,
        rows=rows,
        crpix=np.array([p.to_value(u.pix) for p in target.reference_pixel]),
        crval=np.array([target.meta.get("crval1", 0.0), target.meta.get("crval2", 0.0)], float) * per_unit,
    )


def _corrected_part(part: SkyPart, sharp: bool, corrected: GenericMap) -> SkyPart:
    """`_map_part` of a corrected map: without another WCS where that of the target was what its properties say."""
    return _sharp_part(corrected, part) if sharp else _map_part(corrected)[0]


def _wcs_of(target: GenericMap) -> WCS:
    try:
        with quiet_about_metadata():
            return target.wcs
    except STOPS_AT_A_DATE:
        # Where sunpy stops at a date, the rest of the header is as good as ever.
        return readable_map(target).wcs


def _map_crota_key(target: GenericMap) -> str | None:
    """Keyword from which a map has its rotation: CROTA2, or CROTA in some sources; `None` where it is PC or CD."""
    if any(key.startswith(("pc1_", "pc2_", "cd1_", "cd2_")) for key in target.meta):
        return None
    for key in ("CROTA2", "CROTA", "CROTA1"):
        if key in target.meta:
            lam = target.scale[1] / target.scale[0]
            matrix = target._pc_matrix(lam.to_value(u.one), np.radians(float(target.meta[key])))
            if np.allclose(matrix, target.rotation_matrix, rtol=0, atol=1e-9):
                return key
    return None


def _map_cards(target: GenericMap, part: SkyPart, sharp: bool, solution: Solution) -> tuple[dict[str, float], float]:
    """Keywords for a map and the residual of the map that has them."""
    units = tuple(target.spatial_units)
    values = plain_values(target.meta)
    crota_key = _map_crota_key(target)
    cards = keywords(values, part, solution, units=units, crota_key=crota_key or "")
    corrected = _with_cards(target, cards)
    residual = solution.residual(_corrected_part(part, sharp, corrected))
    if residual < 1e-6 or (crota_key and _reads_cdelt(target, corrected)):
        return cards, residual
    # Some sources take their scale from other keywords than CDELT (GONG: the limb), or in other units. All read PC.
    pc = solution.part.rows / np.array([s.to_value(_PER_PIXEL) for s in corrected.scale])[:, None]
    forced = cards | {f"PC{i + 1}_{j + 1}": float(pc[i, j]) for i in range(2) for j in range(2)}
    better = solution.residual(_map_part(_with_cards(target, forced))[0])
    return (forced, better) if better < residual else (cards, residual)


def _reads_cdelt(target: GenericMap, corrected: GenericMap) -> bool:
    changed = any(target.meta.get(key) != corrected.meta.get(key) for key in ("cdelt1", "cdelt2"))
    return not changed or any(new != old for new, old in zip(corrected.scale, target.scale, strict=True))


def _with_cards(target: GenericMap, cards: Mapping[str, float]) -> GenericMap:
    """Copy of a map that shares its data, mask and uncertainty, with its own ``meta`` and plot settings.

    The constructor is not called: some sources change ``meta``, plot settings or the data there.
    """
    new = copy.copy(target)
    new.meta = target.meta.copy()
    if "PC1_1" in cards and "pc1_1" not in target.meta:
        # FITS allows one of PC, CD and CROTA; sunpy reads PC.
        for key in ("crota1", "crota2", "cd1_1", "cd1_2", "cd2_1", "cd2_2"):
            new.meta.pop(key, None)
    new.meta.update({key.lower(): value for key, value in cards.items()})
    new.plot_settings = dict(target.plot_settings)
    # METIS computes its mask from CDELT, which may have changed.
    new.mask = target.mask
    # sunpy keeps `wcs` in the instance under a hash of the meta, which is None where a value cannot be hashed.
    new.__dict__.pop("_meta_hash", None)
    own_uncertainty(new)
    return new


def _wcs_values(wcs: WCS, crota: bool) -> dict[str, Any]:
    """Keywords of the linear part of a WCS object."""
    names = range(1, wcs.naxis + 1)
    if wcs.wcs.has_cd():
        return {f"CD{i}_{j}": float(wcs.wcs.cd[i - 1, j - 1]) for i in names for j in names}
    values = {f"CDELT{i}": float(wcs.wcs.cdelt[i - 1]) for i in names}
    if crota:
        return values | {f"CROTA{i}": float(wcs.wcs.crota[i - 1]) for i in names}
    return values | {f"PC{i}_{j}": float(wcs.wcs.get_pc()[i - 1, j - 1]) for i in names for j in names}


def _set_keywords(wcs: WCS, values: Mapping[str, Any], crota: bool) -> None:
    """Write the keywords of the linear part and CRVAL into a WCS object."""
    n = wcs.naxis
    wcs.wcs.crval = [values.get(f"CRVAL{i + 1}", wcs.wcs.crval[i]) for i in range(n)]
    name = "CD" if wcs.wcs.has_cd() else "PC"
    if name == "PC":
        wcs.wcs.cdelt = [values[f"CDELT{i + 1}"] for i in range(n)]
    if crota:
        wcs.wcs.crota = [values[f"CROTA{i + 1}"] for i in range(n)]
    else:
        setattr(wcs.wcs, name.lower(), [[values[f"{name}{i + 1}_{j + 1}"] for j in range(n)] for i in range(n)])
    wcs.wcs.set()
