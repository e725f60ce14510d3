"""Write a correction into the keywords of a WCS.

Pixels go to a plane by a linear map (CRPIX and PC+CDELT, CD or CROTA), the plane to the sky by a projection (CTYPE,
CRVAL, LONPOLE). A correction moves the sky, so the sky coordinates that every pixel should have are known exactly. They
are reached by a new CRVAL, the corrected coordinate of the reference pixel, and a 2x2 matrix acting on the plane. The
matrix multiplies the two celestial *rows* of the linear map, whatever pixel axes they depend on; the rows of wavelength
and time are never touched. For a correction without scale in a zenithal projection this is exact. What is left over
elsewhere is measured through wcslib, with the keywords as they are written, and reported in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sunalign.correction import Correction
from sunalign.wcs.header import plain_values, unit_of
from sunalign.wcs.keywords import convention, crota_keyword, keywords
from sunalign.wcs.sky_part import SkyPart
from sunalign.wcs.solve import check_residual, is_nothing, sample_pixels, solve

__all__ = ["refit"]


def refit(
    header: Mapping[str, Any],
    correction: Correction,
    shape: Sequence[int],
    tolerance: float = 0.1,
    part: SkyPart | None = None,
) -> tuple[dict[str, float], float]:
    """Keywords of a header that a correction changes.

    Parameters
    ----------
    header : mapping
        A `~astropy.io.fits.Header`, a map's ``meta`` or a `dict` with the keywords of a FITS WCS of any number of axes.
    correction : `~sunalign.Correction`
        What to write.
    shape : sequence of `int`
        Array shape of the data, slowest axis first: ``(ny, nx)``, or more. Axes of the WCS that the data lack are at
        their first pixel.
    tolerance : `float`
        Largest error allowed, in pixels.
    part : `~sunalign.wcs.sky_part.SkyPart`, optional
        That of the header, if it is known.

    Returns
    -------
    cards : `dict`
        Keyword (upper case) to new value, in the header's own convention and units. CRPIX is never among them.
    residual : `float`
        Largest difference, in pixels, between what was asked for and what the keywords say.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        The header has no celestial axes, or the residual exceeds ``tolerance``.
    """
    values = plain_values(header)
    part = SkyPart.from_header(values) if part is None else part
    if is_nothing(correction):
        return {}, 0.0
    solution = solve(part, correction, sample_pixels(part, shape))
    cards = keywords(values, part, solution, units=(unit_of(values, part.axes[0]), unit_of(values, part.axes[1])))
    residual = solution.residual(SkyPart.from_header(values | cards))
    check_residual(residual, tolerance, crota=convention(values, crota_keyword(part)) == "crota")
    return cards, residual
