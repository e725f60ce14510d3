"""The report is one page that needs nothing else, with the numbers of the result."""

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.files.io import load_correction
from sunalign.model.quality import LIMITS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def result():
    pair = simulate.raster_pair(seed=3, n_steps=32, n_slit=200)
    return sunalign.align(
        pair.target, pair.reference, fit=("shift", "scale_x"), max_shift=60 * u.arcsec, on_doubt="ignore"
    )


@pytest.fixture(scope="module")
def page(result, tmp_path_factory):
    return result.report(tmp_path_factory.mktemp("report") / "report.html")


def test_the_page_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", text)
    assert len(sources) == 7
    assert all(source.startswith("data:") for source in sources)
    assert "<script" not in text
    assert "url(" not in text
    assert sum(source.startswith("data:image/png;base64,iVBOR") for source in sources) == 5
    assert sum(source.startswith("data:image/gif;base64,R0lGOD") for source in sources) == 1


def test_the_page_has_the_numbers_of_the_result(page, result):
    text = html.unescape(page.read_text(encoding="utf-8"))
    for name, value in result._parameter_lines():
        assert name in text
        assert value.removesuffix(" (held)") in text
    assert f"{result.score:.4f}" in text
    assert result.message in text
    for limit in LIMITS.values():
        assert f"{limit:g}</td>" in text
    for plugin in result.plugins.values():
        assert plugin["name"] in text
    for key, value in result.assumptions.items():
        assert key in text
        assert value in text
    assert sunalign.__version__ in text


def test_every_sign_of_quality_is_explained(page, result):
    text = page.read_text(encoding="utf-8")
    for name in result.quality.to_dict():
        row = re.search(rf"<tr><td>{name.replace('_', ' ')}</td>(.*?)</tr>", text)
        assert row is not None
        assert len(row[1].rpartition("<td>")[2]) > 30


def test_json_beside_it(page, result):
    written = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert written["extra"]["score"] == result.score
    assert written["extra"]["fit"] == list(result.free)
    assert load_correction(page.with_suffix(".json")).parameters == result.correction.parameters


@pytest.fixture
def no_figures(monkeypatch):
    """For what has nothing to do with the figures, which take seconds."""
    monkeypatch.setattr("sunalign.visualization.report._figures", lambda *_: [])


@pytest.mark.usefixtures("no_figures")
def test_nothing_is_replaced_unasked(result, tmp_path):
    (tmp_path / "a.html").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a\.html exists"):
        result.report(tmp_path / "a.html")
    (tmp_path / "b.json").write_text("mine too")
    with pytest.raises(FileExistsError, match=r"b\.json exists"):
        result.report(tmp_path / "b.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.json"]
    result.report(tmp_path / "a.html", overwrite=True)
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_report_is_a_page(result, tmp_path):
    with pytest.raises(ValueError, match=r"such as report\.html"):
        result.report(tmp_path / "report.pdf")


@pytest.mark.usefixtures("no_figures")
def test_names_cannot_break_the_page(result, tmp_path):
    odd = replace(result, target=replace(result.target, name="<script>alert(1)</script>"), message="a < b & c")
    text = odd.report(tmp_path / "odd.html").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "a &lt; b &amp; c" in text


@pytest.mark.usefixtures("no_figures")
def test_doubt_is_said(result, tmp_path):
    text = replace(result, success=False).report(tmp_path / "doubt.html").read_text(encoding="utf-8")
    assert '<span class="doubtful">doubtful</span>' in text


@pytest.mark.skipif(BROWSER is None, reason="No Chromium or Chrome is installed.")
def test_a_browser_shows_it(page, tmp_path):
    shot = tmp_path / "shot.png"
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
        "--disable-background-networking --disable-component-update --disable-sync"
    ).split()
    profile = tmp_path / "profile"
    profile.mkdir()
    command = [BROWSER, *flags, f"--user-data-dir={profile}", "--window-size=1000,3000", f"--screenshot={shot}"]
    subprocess.run(
        [*command, page.as_uri()],
        check=True,
        capture_output=True,
        timeout=90,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    with Picture.open(shot) as picture:
        pixels = np.asarray(picture.convert("RGB"), float)
    assert pixels.shape == (3000, 1000, 3)
    # The contours of before and after are the only things in their colours.
    for colour in ((255, 140, 26), (25, 211, 243)):
        assert np.count_nonzero(np.abs(pixels - colour).max(axis=2) < 40) > 100
