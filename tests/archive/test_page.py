"""The page: it has the numbers, says them worst first, and loads nothing but what lies beside it."""

import html
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image as Picture

import astropy.units as u
from astropy.table import QTable
from astropy.time import Time

from sunalign.archive._page import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

COUNT = 200


def results(n=COUNT, seed=0):
    """A year that drifts with the temperature, with a few of every state."""
    rng = np.random.default_rng(seed)
    days = np.linspace(0, 365, n)
    temperature = 15 + 3 * np.sin(days / 30) + rng.normal(0, 0.3, n)
    state = np.array(["done"] * n, dtype="U12")
    for k, name in enumerate(["doubtful", "failed", "no-reference", "interrupted"]):
        state[10 + 40 * k :: 97] = name
    known = np.isin(state, ["done", "doubtful"])
    table = QTable({"id": [f"raster_{k:03d}" for k in range(n)], "state": state})
    table["date"] = Time("2024-01-01") + days * u.day
    table["date"][~known] = np.ma.masked
    x = np.where(state == "doubtful", 60, 5 + temperature + rng.normal(0, 0.4, n))
    x[33] += 8
    for name, values, error, unit in (
        ("shift_x", x, 0.2, u.arcsec),
        ("shift_y", -0.02 * days + rng.normal(0, 0.4, n), 0.2, u.arcsec),
        ("scale_x", np.ones(n), np.nan, None),
        ("scale_y", np.ones(n), np.nan, None),
        ("rotation", np.zeros(n), np.nan, u.deg),
    ):
        for column, numbers in ((name, values), (f"{name}_error", np.full(n, error))):
            numbers = np.where(known, numbers, np.nan)
            table[column] = numbers if unit is None else numbers * unit
    table["score"], table["initial_score"] = np.where(known, 0.97, np.nan), np.where(known, 0.6, np.nan)
    table["peak_significance"] = np.where(known, 9.0, np.nan)
    table["distance"] = np.where(known, 0.6 + 0.3 * np.cos(days / 40), np.nan) * u.AU
    table["T_GRAT"] = np.where(known, temperature, np.nan) * u.deg_C
    table["thumbnail"] = np.where(known, [f"thumbnails/{name}.png" for name in table["id"]], "")
    table["page"] = np.where(known, [f"pages/{name}.html" for name in table["id"]], "")
    table["error"] = np.where(state == "failed", "ImageError", "")
    table["message"] = np.where(known, "", "It is <broken> & gone.")
    return table


@pytest.fixture(scope="module")
def text():
    return page(results(), ["T_GRAT"])


def test_it_loads_nothing_from_elsewhere(text):
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", text)
    assert len(links) > COUNT
    assert all(
        re.fullmatch(r"data:,|results\.ecsv|(thumbnails|pages|tasks)/raster_\d{3}\.(png|html|json)", link)
        for link in links
    )
    assert "url(" not in text
    assert "import" not in text
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket", text)


def test_it_has_every_task_worst_first(text):
    table = results()
    rows = re.findall(r'<tr id="task-(\w+)" data-state="([\w-]+)">', text)
    assert sorted(name for name, _ in rows) == sorted(table["id"])
    order = ["interrupted", "failed", "no-reference", "doubtful", "done"]
    ranks = [order.index(state) for _, state in rows]
    assert ranks == sorted(ranks)
    # Of those that are done, the one that is furthest from the others.
    assert next(name for name, state in rows if state == "done") == "raster_033"
    for state, count in zip(*np.unique(table["state"], return_counts=True), strict=True):
        assert f'<b>{count}</b><span class="{state}">{state}</span>' in text


def test_what_has_no_page_leads_to_its_record(text):
    table = results()
    for row in table:
        links = re.findall(rf'"((?:pages|tasks)/{row["id"]}\.\w+)"', text)
        if row["state"] in ("failed", "no-reference"):
            assert links == [f"tasks/{row['id']}.json"]
        elif row["state"] == "interrupted":
            # It may have no record.
            assert links == []
        else:
            assert set(links) == {row["page"]}


def test_messages_cannot_break_it(text):
    assert "<broken>" not in text
    assert "ImageError: It is <broken> & gone." in html.unescape(text)


def test_it_draws_what_was_fitted_against_what_is_known(text):
    labels = re.findall(r'aria-label="([^"]*)"', text)
    assert labels == [
        f"{name} [arcsec] against {x}"
        for x in ("time", "distance from the Sun [AU]", "T_GRAT [°C]")
        for name in ("shift_x", "shift_y")
    ]
    assert text.count('class="band"') == 6
    assert text.count('class="median"') == 6
    known = int(np.isin(results()["state"], ["done", "doubtful"]).sum())
    assert len(re.findall(r"<title>raster_\d+: ", text)) == 6 * known


def test_the_dots_are_where_the_numbers_are(text):
    """The vertical place of a dot against the labels of the axis, which are written independently of it."""
    chart = re.search(r'<svg[^>]*aria-label="shift_x \[arcsec\] against time".*?</svg>', text, re.DOTALL)[0]
    labels = re.findall(r'<text x="66" y="([\d.]+)" text-anchor="end">([^<]+)</text>', chart)
    places = np.array([float(y) - 4 for y, _ in labels])
    values = np.array([float(value.replace("−", "-")) for _, value in labels])
    slope, offset = np.polyfit(places, values, 1)
    table = results()
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3" class="dot"><title>raster_(\d+): ', chart)
    assert len(dots) > 150
    for _, y, number in dots:
        assert slope * float(y) + offset == pytest.approx(table["shift_x"][int(number)].value, abs=0.1)
    across = [float(x) for x, _, number in sorted(dots, key=lambda dot: int(dot[2]))]
    assert across == sorted(across)


def test_doubtful_ones_beyond_the_frame_are_at_its_edge(text):
    chart = re.search(r'<svg[^>]*aria-label="shift_x \[arcsec\] against time".*?</svg>', text, re.DOTALL)[0]
    odd = re.findall(r'<path d="M[\d.]+ ([\d.]+)l4 7h-8z" class="odd">', chart)
    assert len(odd) == np.count_nonzero(results()["state"] == "doubtful")
    assert set(odd) == {"6.0"}


def test_ten_thousand_tasks_are_few_elements():
    text = page(results(10_000), ["T_GRAT"])
    assert 'class="dot"' not in text
    assert text.count("<circle") < 1500
    assert text.count('class="many dot"') == 6
    assert text.count("<tr id=") == 10_000
    assert len(text) < 12e6


def test_nothing_done_is_a_page_too():
    table = results()[:3]
    table["state"] = "waiting"
    for name in table.colnames:
        if name.endswith("_error"):
            table[name] *= np.nan
    text = page(table)
    assert "<svg" not in text
    assert text.count("<tr id=") == 3


@pytest.mark.skipif(BROWSER is None, reason="No Chromium or Chrome is installed.")
def test_a_browser_shows_it_with_and_without_scripts(text, tmp_path):
    (tmp_path / "index.html").write_text(text)
    (tmp_path / "thumbnails").mkdir()
    thumbnail = Picture.new("RGB", (120, 75), (200, 30, 200))
    for name in results()["id"]:
        thumbnail.save(tmp_path / "thumbnails" / f"{name}.png")
    for scripts in (True, False):
        pixels = screenshot(tmp_path, tmp_path / "index.html", scripts)
        assert near(pixels, (11, 61, 145)) > 500  # dots
        assert near(pixels, (200, 30, 200)) > 5000  # thumbnails
        assert near(pixels, (217, 115, 13)) > 20  # doubtful


def near(pixels, colour):
    return np.count_nonzero(np.abs(pixels - colour).max(axis=2) < 30)


@pytest.mark.skipif(BROWSER is None, reason="No Chromium or Chrome is installed.")
def test_scripts_sort_and_choose(text, tmp_path):
    act = """<script>
      [...document.querySelectorAll("th")].find((head) => head.textContent.startsWith("shift_x")).click();
      document.querySelector("ul.states li[data-state=doubtful]").click();
    </script></body>"""
    (tmp_path / "index.html").write_text(text.replace("</body>", act))
    dom = browse(tmp_path, tmp_path / "index.html", "--dump-dom").decode()
    rows = re.findall(r'<tr id="task-raster_(\d+)" data-state="([\w-]+)"( hidden="")?>', dom)
    assert all((state == "doubtful") == bool(hidden) for _, state, hidden in rows)
    values = results()["shift_x"].value[[int(number) for number, *_ in rows]]
    known = np.isfinite(values)
    # Those without a value come last.
    assert not known[np.flatnonzero(~known)[0] :].any()
    assert (np.diff(values[known]) >= -1e-4).all()


def screenshot(folder, path, scripts):
    shot = folder / "shot.png"
    without = [] if scripts else ["--blink-settings=scriptEnabled=false"]
    browse(folder, path, f"--screenshot={shot}", "--window-size=1400,3200", *without)
    with Picture.open(shot) as picture:
        return np.asarray(picture.convert("RGB"), float)


def browse(folder, path, *options):
    profile = folder / f"profile{len(list(folder.glob('profile*')))}"
    profile.mkdir()
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
        "--disable-background-networking --disable-component-update --disable-sync --virtual-time-budget=3000"
    ).split()
    return subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={profile}", *options, path.as_uri()],
        check=True,
        capture_output=True,
        timeout=90,
        env={**os.environ, "HOME": str(folder)},
    ).stdout
