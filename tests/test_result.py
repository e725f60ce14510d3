"""What a result says of itself."""

import json
from dataclasses import replace

import numpy as np
import pytest

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.correction import Correction
from sunalign.files.io import load_correction, save_correction
from sunalign.model.quality import Quality


@pytest.fixture(scope="module")
def result():
    pair = simulate.raster_pair(seed=3, n_steps=32, n_slit=200)
    return sunalign.align(
        pair.target, pair.reference, fit=("shift", "rotation"), max_shift=60 * u.arcsec, on_doubt="ignore"
    )


def test_free_parameters_in_order(result):
    assert result.free == ("shift_x", "shift_y", "rotation")
    np.testing.assert_array_equal(result.x, [result.correction.parameters[name] for name in result.free])


def test_the_summary_is_the_repr_and_names_every_parameter(result):
    text = result.summary()
    assert repr(result) == text
    for name in ("shift_x", "shift_y", "scale_x", "scale_y", "rotation"):
        assert f"  {name}" in text
    assert "scale_x  1 (held)" in text
    assert f"{result.score:.4f}" in text
    assert f"{result.nfev} evaluations" in text
    assert "ncc, coarse-to-fine, image, wcs" in text
    assert result.message in text


def test_what_is_held_at_nothing_is_shown_as_nothing():
    pair = simulate.raster_pair(seed=3, n_steps=32, n_slit=200)
    result = sunalign.align(pair.target, pair.reference, max_shift=60 * u.arcsec, on_doubt="ignore")
    assert "rotation 0 deg (held)" in result.summary()


def test_doubt_is_in_every_face(result):
    doubtful = replace(result, success=False, message="Hardly <likely>.")
    assert "DOUBTFUL" in repr(doubtful)
    assert "doubtful" in doubtful._repr_html_()
    assert "Hardly &lt;likely&gt;." in doubtful._repr_html_()


def test_to_dict_is_json(result, tmp_path):
    values = result.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["score"] == result.score
    assert values["success"] is result.success
    assert values["plugins"]["optimizer"]["name"] == "coarse-to-fine"
    assert Correction.from_dict(values["correction"]) == result.correction
    # Where a sign of quality is not known the file says null.
    unknown = replace(result, quality=Quality())
    path = save_correction(tmp_path / "c.json", unknown.correction, unknown.to_dict())
    assert json.loads(path.read_text())["extra"]["quality"]["split_half"] is None
    assert load_correction(path) == result.correction


def test_provenance_has_plugins_score_and_assumptions(result):
    plugins, score, assumed = result.provenance().splitlines()
    assert "optimizer coarse-to-fine(" in plugins
    assert f"{result.score:.5f}" in score
    for key, value in result.assumptions.items():
        assert f"{key} {value}" in assumed


def test_the_aligned_map_tells_its_history(result):
    assert "coarse-to-fine" in result.aligned.meta["history"]
