"""A third-party package: found through real discovery, conforming, and at work in an alignment."""

import importlib
import importlib.metadata
import sys

import numpy as np
import pytest

import astropy.units as u

import sunalign
from sunalign import registry, simulate
from sunalign.abc import Metric, Optimizer
from sunalign.exceptions import UnknownPluginError
from sunalign.testing import check_plugin
from sunalign.testing.helpers import small_map, smooth_image


def test_it_is_there_only_where_it_is_installed():
    assert "spiral" not in registry.names(Optimizer)
    with pytest.raises(UnknownPluginError, match="There is no optimizer named 'spiral'"):
        registry.load(Optimizer, "spiral")


def test_discovery(example_plugin):
    assert importlib.metadata.version("example-plugin") == "0.1"
    assert registry.load(Optimizer, "spiral") is example_plugin.Spiral
    assert registry.load(Metric, "sign_agreement") is example_plugin.SignAgreement
    rows = [row for row in registry.installed() if row["distribution"] == "example-plugin"]
    assert [(row["kind"], row["name"], row["version"]) for row in rows] == [
        ("metric", "sign-agreement", "0.1"),
        ("optimizer", "spiral", "0.1"),
    ]
    assert registry.name_of(example_plugin.Spiral()) == "spiral"


def test_listing_does_not_import_it(example_plugin):
    for name in [name for name in sys.modules if name.partition(".")[0] == "example_plugin"]:
        del sys.modules[name]
    assert "spiral" in registry.names(Optimizer)
    assert registry.installed()
    assert "example_plugin" not in sys.modules


def test_optimizer_conforms(example_plugin):
    check_plugin(example_plugin.Spiral())


def test_metric_conforms(example_plugin):
    check_plugin(example_plugin.SignAgreement())


@pytest.fixture(scope="module")
def pair():
    return simulate.raster_pair(seed=3, n_steps=32, n_slit=200)


def test_in_an_alignment_by_name(example_plugin, pair):
    options = {"max_shift": 40 * u.arcsec, "rng": 1}
    result = sunalign.align(pair.target, pair.reference, optimizer="spiral", n_points=30, **options)
    best = sunalign.align(pair.target, pair.reference, **options)
    assert np.allclose(result.correction.shift, best.correction.shift, atol=1.5 * u.arcsec, rtol=0)
    assert result.plugins["optimizer"] == {
        "name": "spiral",
        "options": {"n_points": 30, "n_rounds": 20, "narrowing": 0.7},
    }
    assert "spiral(n_points=30" in result.aligned.meta["history"]
    assert result.nit == 20
    again = pair.target.align_to(pair.reference, optimizer=example_plugin.Spiral(n_points=30), **options)
    assert again.meta["crval1"] == result.aligned.meta["crval1"]


def test_metric_and_optimizer_together(example_plugin):
    scene = smooth_image((90, 90), seed=4)
    target = small_map(scene[21:-21, 21:-21], centre=(50.0, -44.0))
    result = sunalign.align(
        target,
        small_map(scene),
        metric="sign-agreement",
        optimizer="spiral",
        max_shift=30 * u.arcsec,
        rng=0,
        on_doubt="ignore",
    )
    # Steps of half a pixel are all that counting pixels can tell.
    assert np.allclose(result.correction.shift.to_value(u.arcsec), [10, 4], atol=2)
    assert result.plugins["metric"]["name"] == "sign-agreement"


def test_the_default_optimizer_copes_with_a_metric_without_powers(example_plugin, pair):
    result = sunalign.align(pair.target, pair.reference, metric="sign-agreement", on_doubt="ignore")
    best = sunalign.align(pair.target, pair.reference)
    assert np.allclose(result.correction.shift, best.correction.shift, atol=4 * u.arcsec, rtol=0)
