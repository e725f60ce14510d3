"""What was found about the pointing of the columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import astropy.units as u
from astropy.table import QTable

from sunalign.correction import with_error

__all__ = ["Drift"]


@dataclass(frozen=True, eq=False, repr=False)
class Drift:
    """Pointing of the columns of a raster beyond shift, scale and rotation of the whole.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        One row a column: ``column`` (0-based), ``time`` where it is known, ``shift_x`` and ``shift_y``, which are to be
        *added* to the corrected coordinates of that column, and their 1-sigma errors ``shift_x_error`` and
        ``shift_y_error``. Without mean and trend over the columns that have data.
    refused : `bool`
        Whether the data say so little that nothing was fitted; all is zero then.
    message : `str`
        What came of it, or why nothing did.
    freedom : `float`
        Effective degrees of freedom of the smooth drift along both axes together; near 0 where there is none.
    strength : `~astropy.units.Quantity`, shape (2,)
        Rms of the smooth drift that the data make probable along x and y.
    jitter : `~astropy.units.Quantity`
        Standard deviation of displacements of single columns, along either axis, that the data make most probable.
    no_drift : `float`
        Probability that there is no smooth drift at all, half of which is believed beforehand.
    sensitivity : `numpy.ndarray`, shape (2,)
        Along x and y: error of a drift as large as a pixel of the reference (or as the prior), as a part of it. Near 1
        the data say nothing.
    templates : `~astropy.table.QTable`
        One row a template: ``name``, ``gain``, ``error``, ``held_out`` (by how much it raises the log-likelihood of
        columns left out), ``helps``, and its shape where the gain is 1, ``shift_x`` and ``shift_y`` by column.
    """

    table: QTable
    refused: bool
    message: str
    freedom: float
    strength: u.Quantity
    jitter: u.Quantity
    no_drift: float
    sensitivity: np.ndarray
    templates: QTable

    @property
    def rms(self) -> u.Quantity:
        """Rms of what was found, along x and y."""
        return u.Quantity([np.sqrt(np.nanmean(self.table[f"shift_{axis}"] ** 2)) for axis in "xy"])

    @property
    def rms_error(self) -> u.Quantity:
        """Rms of its 1-sigma errors, along x and y."""
        return u.Quantity([np.sqrt(np.nanmean(self.table[f"shift_{axis}_error"] ** 2)) for axis in "xy"])

    def lines(self) -> list[str]:
        """Some lines for a person."""
        lines = [self.message]
        for row in self.templates:
            if not np.isfinite(row["held_out"]):
                continue
            verdict = "helps" if row["helps"] else "does not help"
            lines.append(
                f"template '{row['name']}': gain {with_error(float(row['gain']), float(row['error']))}, "
                f"{verdict} columns left out (log-likelihood {row['held_out']:+.1f})"
            )
        return lines

    def __repr__(self) -> str:
        return f"<Drift: {'; '.join(self.lines())}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the table included."""
        columns = ["shift_x", "shift_x_error", "shift_y", "shift_y_error"]
        return {
            "refused": bool(self.refused),
            "message": self.message,
            "freedom": float(self.freedom),
            "strength": self.strength.to_value(u.arcsec).tolist(),
            "jitter": float(self.jitter.to_value(u.arcsec)),
            "no_drift": float(self.no_drift),
            "sensitivity": [float(value) for value in self.sensitivity],
            "templates": [
                {"name": str(row["name"]), "gain": float(row["gain"]), "error": float(row["error"]),
                 "held_out": float(row["held_out"]) if np.isfinite(row["held_out"]) else None,
                 "helps": bool(row["helps"])}
                for row in self.templates
            ],
            "table": {
                "column": [int(c) for c in self.table["column"]],
                **({"time": [str(t) for t in self.table["time"].utc.isot]} if "time" in self.table.colnames else {}),
                **{name: self.table[name].to_value(u.arcsec).tolist() for name in columns},
            },
        }  # fmt: skip
