"""Known shapes of the pointing, of which only the size is in question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import astropy.units as u
from astropy.table import Table
from astropy.time import Time

from sunpy.time import parse_time

from sunalign.exceptions import AlignmentError
from sunalign.geometry.times import StepTimes
from sunalign.images import Image

__all__ = ["Template", "sine", "step", "table_template", "templates_of"]


@dataclass(frozen=True, eq=False)
class Template:
    """A shape of the pointing against time, by which coordinates are off: *added* to them where its gain is 1.

    Made by `step`, `sine`, `table_template` or from the tables of a file.

    Parameters
    ----------
    name : `str`
        How to speak of it.
    seconds : `numpy.ndarray`, shape (k,)
        When it is known, after ``epoch``, growing; or numbers of columns where there is no epoch.
    moved : `numpy.ndarray`, shape (2, k)
        Displacement towards (+Tx, +Ty), arcsec. Between the times it is linear, and beyond them constant.
    epoch : `~astropy.time.Time`, optional
    gains : `tuple` of `float`
        Where a search starts, besides 0.
    """

    name: str
    seconds: np.ndarray
    moved: np.ndarray
    epoch: Time | None = None
    gains: tuple[float, ...] = ()

    def shape(self, image: Image) -> np.ndarray:
        """Displacement of every column of an image.

        Parameters
        ----------
        image : `~sunalign.images.Image`
            With times, unless the template is of columns.

        Returns
        -------
        `numpy.ndarray`, shape (2, n)
            Arcsec towards (+Tx, +Ty).
        """
        columns = np.arange(image.grid.shape[1], dtype=float)
        where = columns if self.epoch is None else _seconds(image, self.epoch, self.name)
        return np.array([np.interp(where, self.seconds, row) for row in self.moved])


def _seconds(image: Image, epoch: Time, name: str) -> np.ndarray:
    times = _times(image, name)
    return times(np.arange(image.grid.shape[1])) + float((times.epoch - epoch).to_value(u.s))


def _times(image: Image, name: str) -> StepTimes:
    times = image.times
    if times is None or times.is_instant:
        raise AlignmentError(
            f"The template '{name}' is a function of time, but {image.name} does not say when its columns were taken; "
            f"give a table with a 'column' instead of a 'time'."
        )
    return times


def step(time: Any, name: str | None = None) -> tuple[Template, Template]:
    """Templates of a jump at a time, such as the off-loading of wheels: one along x and one along y.

    Their gains are the jump in arcsec.

    Parameters
    ----------
    time : {parse_time_types}
        From when on the pointing is another.
    name : `str`, optional
    """
    time = parse_time(time)
    name = name or f"step {time.isot[11:19]}"
    one = np.array([0.0, 1.0])
    seconds = np.array([-1e-3, 1e-3])
    return (
        Template(f"{name} x", seconds, np.array([one, 0 * one]), time),
        Template(f"{name} y", seconds, np.array([0 * one, one]), time),
    )


def sine(period: u.Quantity, epoch: Any, name: str | None = None) -> tuple[Template, ...]:
    """Templates of a swing with a known period, such as an orbit's: sine and cosine along x and along y.

    Their gains are amplitudes in arcsec.

    Parameters
    ----------
    period : `~astropy.units.Quantity`
    epoch : {parse_time_types}
        Where the sine is 0.
    name : `str`, optional
    """
    if not (isinstance(period, u.Quantity) and period.unit.is_equivalent(u.s) and period > 0 * u.s):
        raise AlignmentError(f"The period of a sine is a time above 0, such as 98 * u.min; got {period!r}.")
    epoch, length = parse_time(epoch), float(period.to_value(u.s))
    name = name or f"{period:g}"
    return tuple(
        _Wave(f"{word} {name} {'xy'[axis]}", np.zeros(0), np.zeros((2, 0)), epoch, (), length, word == "cosine", axis)
        for axis in range(2)
        for word in ("sine", "cosine")
    )


@dataclass(frozen=True, eq=False)
class _Wave(Template):
    """A sine or cosine along one axis."""

    period: float = 1.0
    quarter: bool = False
    axis: int = 0

    def shape(self, image: Image) -> np.ndarray:
        assert self.epoch is not None
        phase = 2 * np.pi * _seconds(image, self.epoch, self.name) / self.period
        moved = np.zeros((2, len(phase)))
        moved[self.axis] = np.cos(phase) if self.quarter else np.sin(phase)
        return moved


def table_template(table: Any, name: str = "table") -> Template:
    """Template of a table with columns ``time`` (or ``column``), and ``shift_x``, ``shift_y`` or ``x``, ``y``.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Angles have a unit. A row whose angles are not finite is left out.
    name : `str`
    """
    if not isinstance(table, Table):
        raise AlignmentError(
            f"A pointing table is an astropy QTable with columns time, x and y; got {type(table).__name__}."
        )
    moved = np.array([_angles(table, axis) for axis in "xy"])
    if "time" in table.colnames:
        times = table["time"] if isinstance(table["time"], Time) else Time(table["time"])
        epoch = times[0]
        where = np.asarray((times - epoch).to_value(u.s), float)
    elif "column" in table.colnames:
        epoch, where = None, np.asarray(table["column"], float)
    else:
        raise AlignmentError(
            f"A pointing table has a column 'time' (or 'column', 0-based); it has {', '.join(table.colnames)}."
        )
    good = np.isfinite(moved).all(axis=0) & np.isfinite(where)
    if good.sum() < 2:
        raise AlignmentError(f"The pointing table '{name}' has {good.sum()} finite rows; 2 or more are needed.")
    order = np.argsort(where[good], kind="stable")
    return Template(name, where[good][order], moved[:, good][:, order], epoch, (1.0, -1.0))


def _angles(table: Table, axis: str) -> np.ndarray:
    for name in (f"shift_{axis}", axis):
        if name in table.colnames:
            try:
                return np.asarray(u.Quantity(table[name]).to_value(u.arcsec), float)
            except (u.UnitsError, TypeError):
                raise AlignmentError(
                    f"The column '{name}' of a pointing table is an angle with a unit, such as u.arcsec."
                ) from None
    raise AlignmentError(
        f"A pointing table has columns 'x' and 'y' (or 'shift_x' and 'shift_y'); it has {', '.join(table.colnames)}."
    )


def templates_of(pointing: Any) -> list[Template]:
    """Templates from what a caller may give: one or a sequence of tables and templates.

    Parameters
    ----------
    pointing : `~astropy.table.QTable`, `Template`, a sequence of such, or `None`
        Any name is used once: the second and further ones get a number.
    """
    if pointing is None:
        return []
    if isinstance(pointing, Template):
        return [pointing]
    if isinstance(pointing, Table):
        return [table_template(pointing)]
    if isinstance(pointing, Sequence) and not isinstance(pointing, str):
        found = [template for item in pointing for template in templates_of(item)]
        names = [template.name for template in found]
        return [_named(t, f"{t.name} {k + 1}") if names.count(t.name) > 1 else t for k, t in enumerate(found)]
    raise AlignmentError(
        f"'pointing' is a QTable with time, x and y, a template such as sunalign.pointing.step(time), a sequence of "
        f"those, 'file' or 'ignore'; got {pointing!r}."
    )


def _named(template: Template, name: str) -> Template:
    from dataclasses import replace

    return replace(template, name=name)
