"""The page of an archive: what came of it at a glance, against time and what else it may depend on, worst first."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.table import QTable
from astropy.time import Time

import sunalign
from sunalign.archive._chart import Points, chart
from sunalign.archive._store import FINISHED
from sunalign.archive._trend import deviations, unix_of
from sunalign.correction import PARAMETERS, UNITS, with_error
from sunalign.files.output import atomic_write

__all__ = ["page", "write_page"]

#: From bad to good, the order of the rows.
_ORDER = ("interrupted", "failed", "no-reference", "doubtful", "running", "waiting", "done")

_WORDS = {
    "done": "aligned, and no sign of a wrong answer",
    "doubtful": "aligned, but the answer shows a sign of being wrong",
    "no-reference": "no image whose pointing is trusted",
    "failed": "ended with an error",
    "interrupted": "begun and not ended; the next run does it again",
    "running": "being done by another process",
    "waiting": "not done yet, or changed since",
}

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 92rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.note { color: #59636e; max-width: 60rem; }
ul.states { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .5rem; }
ul.states li { border: 1px solid #d8dee4; border-radius: .5rem; padding: .3rem .8rem; }
ul.states b { font-size: 1.25rem; margin-right: .35rem; } ul.states li[tabindex] { cursor: pointer; }
ul.states li.off { opacity: .4; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(32rem, 100%), 1fr)); gap: .5rem 1.5rem; }
.charts .wide { grid-column: 1 / -1; } svg.chart { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: #59636e; } svg .name { fill: #1f2328; }
.frame { fill: none; stroke: #8c959f; } .grid { stroke: #eaeef2; } .tick { stroke: #8c959f; }
.band { fill: #0969da; fill-opacity: .15; } .median { fill: none; stroke: #0969da; stroke-width: 1.5; }
.error { stroke: #8c959f; stroke-opacity: .6; fill: none; } circle.dot { fill: #0b3d91; fill-opacity: .75; }
path.dot { fill: #0b3d91; } .odd { fill: #d9730d; stroke: #fff; stroke-width: .5; }
.many { stroke-width: 4; stroke-linecap: round; fill: none; } .many.dot { stroke: #0b3d91; stroke-opacity: .5; }
.many.odd { stroke: #d9730d; }
table { border-collapse: collapse; width: 100%; font-size: .92em; }
th, td { text-align: left; padding: .3rem .5rem .3rem 0; vertical-align: top; border-bottom: 1px solid #d8dee4; }
th { position: sticky; top: 0; background: #fff; } th[tabindex] { cursor: pointer; }
th[aria-sort=ascending]::after { content: " ▲"; } th[aria-sort=descending]::after { content: " ▼"; }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.id { overflow-wrap: anywhere; min-width: 9rem; max-width: 16rem; }
td.message { min-width: 13rem; font-size: .85em; overflow-wrap: anywhere; }
td img { max-height: 75px; max-width: 11rem; display: block; }
.done { color: #1a7f37; } .doubtful { color: #b35900; } .failed, .interrupted { color: #c1121f; }
.no-reference, .waiting, .running { color: #59636e; } .state { font-weight: 600; white-space: nowrap; }
input[type=search] { font: inherit; padding: .2rem .5rem; width: 18rem; }
""".strip()

#: Sorting and choosing; without it the page says the same, worst first.
_SCRIPT = """
(() => {
  const body = document.querySelector("tbody"), rows = [...body.rows], off = new Set();
  const search = document.createElement("input");
  search.type = "search"; search.placeholder = "Show only rows with ...";
  document.querySelector("#tasks").after(search);
  const show = () => {
    const text = search.value.toLowerCase();
    for (const row of rows) row.hidden = off.has(row.dataset.state) || !row.textContent.toLowerCase().includes(text);
  };
  search.addEventListener("input", show);
  const press = (element, act) => {
    element.tabIndex = 0;
    element.addEventListener("click", act);
    element.addEventListener("keydown", (event) => { if (event.key === "Enter") act(); });
  };
  for (const item of document.querySelectorAll("ul.states li")) press(item, () => {
    const state = item.dataset.state;
    item.classList.toggle("off", !off.delete(state) && Boolean(off.add(state)));
    show();
  });
  const heads = [...document.querySelectorAll("thead th")];
  heads.forEach((head, k) => press(head, () => {
    const down = head.getAttribute("aria-sort") === "ascending", value = (row) => row.cells[k].dataset.v ?? "";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = rows.every((row) => value(row) === "" || !isNaN(value(row)));
    const order = (a, b) => numeric ? value(a) - value(b) : value(a).localeCompare(value(b));
    // What has no value comes last either way.
    rows.sort((a, b) => (value(a) === "") - (value(b) === "") || (down ? order(b, a) : order(a, b)));
    body.append(...rows);
  }));
})();
""".strip()


def write_page(table: QTable, path: Path, keywords: Sequence[str]) -> None:
    """Write the page; it is whole or not there.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Of the results.
    path : `~pathlib.Path`
        Of the page.
    keywords : sequence of `str`
        Cards that the table has columns of.
    """
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(page(table, keywords), encoding="utf-8")


def page(table: QTable, keywords: Sequence[str] = ()) -> str:
    """Page of an archive as HTML, which loads nothing but the thumbnails beside it.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        As `sunalign.archive.align_archive` returns it.
    keywords : sequence of `str`
        Columns of the table that the corrections may depend on, besides time and distance.
    """
    fitted = [name for name in PARAMETERS if np.isfinite(_plain(table[f"{name}_error"])).any()]
    far = _deviations(table, fitted)
    order = sorted(range(len(table)), key=lambda i: _badness(table, far, i))
    body = [
        "<h1>Archive of alignments</h1>",
        _states(table),
        f'<p class="note">{len(table)} tasks, written {Time.now().isot[:19]} UTC by sunalign '
        f"{html.escape(sunalign.__version__)}. Shifts are added to the targets' coordinates. All of it is in "
        f'<a href="results.ecsv">results.ecsv</a>.</p>',
        *_charts(table, fitted, keywords),
        '<h2 id="tasks">Tasks, worst first</h2>',
        '<p class="note">Deviation is the largest distance of a parameter from the running median, in standard '
        "deviations of the band about it. In the pictures: the target; target (red) over reference (cyan) before; and "
        "after: what agrees is grey.</p>",
        _tasks(table, fitted, far, order),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Archive of alignments</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _plain(column: Any) -> np.ndarray:
    return np.array(u.Quantity(column).value, float)


def _deviations(table: QTable, fitted: Sequence[str]) -> np.ndarray:
    """Largest deviation of any parameter, by task; NaN where there is none."""
    good, dates = np.asarray(table["state"]) == "done", unix_of(table["date"])
    known = np.isfinite(dates)
    largest = np.full(len(table), np.nan)
    for name in fitted:
        values = np.where(np.isfinite(_plain(table[f"{name}_error"])), _plain(table[name]), np.nan)
        both = known & np.isfinite(values)
        away = np.full(len(table), np.nan)
        away[both] = deviations(dates[both] - dates[known].min(), values[both], good[both])
        largest = np.fmax(largest, away)
    return largest


def _badness(table: QTable, far: np.ndarray, i: int) -> tuple[Any, ...]:
    significance = float(table["peak_significance"][i])
    return (
        _ORDER.index(str(table["state"][i])),
        -far[i] if np.isfinite(far[i]) else 0.0,
        significance if np.isfinite(significance) else np.inf,
        i,
    )


def _states(table: QTable) -> str:
    count = Counter(str(state) for state in table["state"])
    items = [
        f'<li data-state="{state}" title="{_WORDS[state]}"><b>{count[state]}</b>'
        f'<span class="{state}">{state}</span></li>'
        for state in reversed(_ORDER)
        if count[state]
    ]
    return f'<ul class="states">{"".join(items)}</ul>'


# Charts.


def _charts(table: QTable, fitted: Sequence[str], keywords: Sequence[str]) -> list[str]:
    if not fitted:
        return []
    dates = unix_of(table["date"])
    parts = [
        "<h2>Against time</h2>",
        '<p class="note">Blue: done, with errors of 1 σ, running median and ± 1 standard deviation (by the median '
        "absolute deviation). Orange: doubtful; at the edge if beyond it. Every point leads to its page.</p>",
        '<div class="charts">',
    ]
    parts += [f'<div class="wide">{_chart(table, name, dates, "time", True)}</div>' for name in fitted]
    parts.append("</div>")
    others = {"distance": "distance from the Sun"} | {key: key for key in keywords if key in table.colnames}
    for column, words in others.items():
        values = _plain(table[column])
        some = values[np.isfinite(values)]
        if some.size < 3 or np.ptp(some) == 0:
            continue
        unit = _text(u.Quantity(table[column]).unit)
        drawn = "".join(f"<div>{_chart(table, name, values, _with_unit(words, unit), False)}</div>" for name in fitted)
        parts += [f"<h2>Against {html.escape(words)}</h2>", f'<div class="charts">{drawn}</div>']
    return parts


def _text(unit: u.UnitBase) -> str:
    return {"deg_C": "°C", "": ""}.get(str(unit), str(unit))


def _with_unit(words: str, unit: str) -> str:
    return f"{words} [{unit}]" if unit else words


def _chart(table: QTable, name: str, x: np.ndarray, x_label: str, wide: bool) -> str:
    states, errors = np.asarray(table["state"]), _plain(table[f"{name}_error"])
    points = Points(
        x=x,
        y=np.where(np.isfinite(errors), _plain(table[name]), np.nan),
        error=errors,
        good=states == "done",
        names=[str(name) for name in table["id"]],
        links=[str(link) for link in table["page"]],
    )
    label = _with_unit(name, str(UNITS[name]))
    return chart(points, x_label, label, dates=wide, width=1200 if wide else 560, height=210 if wide else 240)


# The table.


def _tasks(table: QTable, fitted: Sequence[str], far: np.ndarray, order: Sequence[int]) -> str:
    heads = ["", "task", "state", "date", *(_with_unit(name, str(UNITS[name])) for name in fitted)]
    heads += ["deviation", "significance", "score", "message"]
    columns = {name: (_plain(table[name]), _plain(table[f"{name}_error"])) for name in fitted}
    plain = {name: _plain(table[name]) for name in ("peak_significance", "score", "initial_score")}
    dates = [str(date)[:19] for date in np.ma.filled(np.ma.asarray(_isot(table["date"])), "")]
    texts = {
        name: [str(text) for text in table[name]] for name in ("id", "state", "page", "thumbnail", "message", "error")
    }
    rows = []
    for i in order:
        state, link = texts["state"][i], html.escape(_leads_to(*(texts[key][i] for key in ("id", "state", "page"))))
        name = html.escape(texts["id"][i])
        picture = html.escape(texts["thumbnail"][i])
        image = f'<img src="{picture}" alt="{name} before and after" loading="lazy">' if picture else ""
        cells = [
            f"<td>{_link(link, image)}</td>",
            f'<td class="id" data-v="{name}">{_link(link, name)}</td>',
            f'<td class="state {state}" data-v="{state}">{state}</td>',
            f'<td class="n" data-v="{dates[i]}">{dates[i][:16].replace("T", " ")}</td>',
        ]
        for values, errors in columns.values():
            known = np.isfinite(errors[i])
            cells.append(_cell(values[i] if known else np.nan, with_error(values[i], errors[i]) if known else ""))
        cells.append(_cell(far[i], f"{far[i]:.1f}"))
        cells.append(_cell(plain["peak_significance"][i], f"{plain['peak_significance'][i]:.1f}"))
        cells.append(_cell(plain["score"][i], f"{plain['initial_score'][i]:.3f} → {plain['score'][i]:.3f}"))
        error = f"{texts['error'][i]}: " if texts["error"][i] else ""
        said = "" if state == "done" else html.escape(f"{error}{texts['message'][i]}")
        cells.append(f'<td class="message">{said}</td>')
        rows.append(f'<tr id="task-{name}" data-state="{state}">{"".join(cells)}</tr>')
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _leads_to(name: str, state: str, page: str) -> str:
    """Page of a task; its record, with all that is known of an error, where it has none."""
    return page or (f"tasks/{name}.json" if state in FINISHED else "")


def _isot(times: Time) -> Any:
    shown = times.isot
    return np.where(np.broadcast_to(times.mask, shown.shape), "", np.asarray(getattr(shown, "unmasked", shown)))


def _link(target: str, text: str) -> str:
    return f'<a href="{target}">{text}</a>' if target and text else text


def _cell(value: float, text: str) -> str:
    if not np.isfinite(value):
        return '<td class="n" data-v=""></td>'
    return f'<td class="n" data-v="{value:.6g}">{html.escape(text)}</td>'
