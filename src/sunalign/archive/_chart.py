"""Charts as SVG: readable without scripts, drawn by whatever shows the page."""

from __future__ import annotations

import datetime
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sunalign.archive._trend import running_band

__all__ = ["Points", "chart"]

#: Points beyond which they are one path, without a link each.
_SINGLE = 1500
_BARS = 400

_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 14, 10, 34


@dataclass(frozen=True, eq=False)
class Points:
    """What is drawn.

    Parameters
    ----------
    x, y, error : `numpy.ndarray`
        NaN where unknown.
    good : `numpy.ndarray` of `bool`
        False for doubtful ones, which the band leaves out.
    names, links : sequence of `str`
        What a point is called and where it leads; an empty link leads nowhere.
    """

    x: np.ndarray
    y: np.ndarray
    error: np.ndarray
    good: np.ndarray
    names: Sequence[str]
    links: Sequence[str]


def chart(
    points: Points, x_label: str, y_label: str, *, dates: bool = False, width: int = 760, height: int = 230
) -> str:
    """Points with their errors, and running median ± spread of the good ones.

    Parameters
    ----------
    points : `Points`
    x_label, y_label : `str`
    dates : `bool`
        Whether x is seconds of Unix.
    width, height : `int`
        Of the drawing.
    """
    shown = np.isfinite(points.x) & np.isfinite(points.y)
    if not shown.any():
        return ""
    x_range = _range(points.x[shown], 0.02)
    fair = shown & points.good
    y_range = _range(points.y[fair] if fair.any() else points.y[shown], 0.08)
    frame = _Frame(x_range, y_range, width, height)
    label = f"{y_label} against {x_label}"
    parts = [
        f'<svg viewBox="0 0 {width} {height}" class="chart" role="img" aria-label="{html.escape(label)}">',
        _axes(frame, x_label, y_label, dates),
        _band(frame, points, fair),
    ]
    if np.count_nonzero(shown) <= _BARS:
        parts.append(_bars(frame, points, shown))
    parts += [
        _dots(frame, points, shown & points.good, "dot", dates),
        _dots(frame, points, shown & ~points.good, "odd", dates),
    ]
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class _Frame:
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: int
    height: int

    def x(self, value: np.ndarray | float) -> np.ndarray:
        low, high = self.x_range
        return _LEFT + (np.asarray(value) - low) / (high - low) * (self.width - _LEFT - _RIGHT)

    def y(self, value: np.ndarray | float) -> np.ndarray:
        low, high = self.y_range
        return self.height - _BOTTOM - (np.asarray(value) - low) / (high - low) * (self.height - _TOP - _BOTTOM)


def _range(values: np.ndarray, margin: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    more = margin * (high - low) or max(abs(low) * 1e-3, 1e-3)
    return low - more, high + more


def _axes(frame: _Frame, x_label: str, y_label: str, dates: bool) -> str:
    from matplotlib.ticker import MaxNLocator

    bottom, right = frame.height - _BOTTOM, frame.width - _RIGHT
    parts = [f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}" class="frame"/>']
    y_ticks = np.asarray(MaxNLocator(5).tick_values(*frame.y_range))
    for value, text in zip(y_ticks, _numbers(y_ticks), strict=True):
        if frame.y_range[0] <= value <= frame.y_range[1]:
            y = float(frame.y(value))
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" class="grid"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    if dates:
        ticks, texts = _date_ticks(*frame.x_range)
    else:
        ticks = np.asarray(MaxNLocator(max(frame.width // 110, 2)).tick_values(*frame.x_range))
        texts = _numbers(ticks)
    for value, text in zip(ticks, texts, strict=True):
        if frame.x_range[0] <= value <= frame.x_range[1]:
            x = float(frame.x(value))
            parts.append(f'<path d="M{x:.1f} {bottom}v4" class="tick"/>')
            # A label at the right end would be cut off in its middle.
            anchor = "middle" if x + 4 * len(text) < frame.width else "end"
            at = x if anchor == "middle" else frame.width - 1
            parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{text}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<text x="12" y="{middle:.0f}" transform="rotate(-90 12 {middle:.0f})" text-anchor="middle" class="name">'
        f"{html.escape(y_label)}</text>"
    )
    if not dates:
        parts.append(
            f'<text x="{(_LEFT + right) / 2:.0f}" y="{frame.height - 3}" text-anchor="middle" class="name">'
            f"{html.escape(x_label)}</text>"
        )
    return "".join(parts)


def _numbers(ticks: np.ndarray) -> list[str]:
    step = float(np.min(np.diff(ticks))) if len(ticks) > 1 else 1.0
    digits = next((d for d in range(9) if np.abs(np.round(ticks, d) - ticks).max() < 1e-3 * step), 9)
    return [f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in ticks + 0.0]


def _date_ticks(low: float, high: float) -> tuple[np.ndarray, list[str]]:
    from matplotlib import dates as made

    dates: Any = made  # matplotlib does not type it
    locator = dates.AutoDateLocator(minticks=3, maxticks=7)
    ends = [datetime.datetime.fromtimestamp(t, tz=datetime.UTC) for t in (low, high)]
    ticks = locator.tick_values(*ends)
    whole = list(dates.num2date(ticks))
    step = float(np.min(np.diff(ticks))) if len(ticks) > 1 else 1.0
    words = "%Y" if step > 360 else "%Y-%m" if step > 27 else "%Y-%m-%d" if step > 0.9 else "%m-%d %H:%M"
    return np.array([date.timestamp() for date in whole]), [date.strftime(words) for date in whole]


def _band(frame: _Frame, points: Points, fair: np.ndarray) -> str:
    if np.count_nonzero(fair) < 5:
        return ""
    band = running_band(points.x[fair], points.y[fair])
    keep = np.unique(np.linspace(0, len(band.x) - 1, min(len(band.x), 400)).round().astype(int))
    x = frame.x(band.x[keep])
    low, middle, high = (np.clip(band.median[keep] + k * band.spread[keep], *frame.y_range) for k in (-1, 0, 1))
    edge = _path(np.concatenate([x, x[::-1]]), frame.y(np.concatenate([low, high[::-1]])))
    return f'<path d="{edge}Z" class="band"/><path d="{_path(x, frame.y(middle))}" class="median"/>'


def _path(x: np.ndarray, y: np.ndarray) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _bars(frame: _Frame, points: Points, shown: np.ndarray) -> str:
    parts = []
    inside = (points.y >= frame.y_range[0]) & (points.y <= frame.y_range[1])
    for i in np.flatnonzero(shown & inside & np.isfinite(points.error)):
        low, high = (np.clip(points.y[i] + sign * points.error[i], *frame.y_range) for sign in (-1, 1))
        if high > low:
            parts.append(f"M{float(frame.x(points.x[i])):.1f} {float(frame.y(low)):.1f}V{float(frame.y(high)):.1f}")
    return f'<path d="{"".join(parts)}" class="error"/>' if parts else ""


def _dots(frame: _Frame, points: Points, which: np.ndarray, style: str, dates: bool) -> str:
    where = np.flatnonzero(which)
    if not where.size:
        return ""
    x = frame.x(points.x[where])
    # What lies beyond the frame is drawn at its edge.
    y = frame.y(np.clip(points.y[where], *frame.y_range))
    if where.size > _SINGLE:
        dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
        return f'<path d="{dots}" class="many {style}"/>'
    parts = []
    for i, a, b in zip(where.tolist(), x, y, strict=True):
        beyond = not frame.y_range[0] <= points.y[i] <= frame.y_range[1]
        shape = f'<path d="M{a:.1f} {b - 4:.1f}l4 7h-8z" class="{style}">' if beyond else (
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" class="{style}">'
        )  # fmt: skip
        end = "</path>" if beyond else "</circle>"
        error = f" ± {points.error[i]:.2g}" if np.isfinite(points.error[i]) else ""
        title = html.escape(f"{points.names[i]}: {points.y[i]:.5g}{error}")
        dot = f"{shape}<title>{title}</title>{end}"
        link = html.escape(points.links[i])
        parts.append(f'<a href="{link}">{dot}</a>' if link else dot)
    return "".join(parts)
