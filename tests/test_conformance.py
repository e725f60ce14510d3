"""The public kit over every plugin that is installed under our own name."""

import importlib.metadata

import numpy as np
import pytest
from hypothesis import given

from sunalign import registry
from sunalign.abc import Metric
from sunalign.exceptions import PluginLoadError
from sunalign.testing import parametrize_with_checks, strategies

#: Besides its defaults, a plugin is tested with these options.
VARIANTS = {
    "hill-climb": [{"n_neighbors": 12, "shrink_factor": {"shift": 3.0, "scale": None, "rotation": 2.0}}],
    "fft-search": [{"level": 2.0}],
    "coarse-to-fine": [{"coarse": 2.0, "n_peaks": 1}],
}

#: Class name to check name to the reason why the law does not hold.
EXPECTED_FAILURES: dict[str, dict[str, str]] = {}


def our_names():
    for kind, (group, _) in registry.KINDS.items():
        found = importlib.metadata.entry_points(group=group)
        for name in sorted({ep.name for ep in found if ep.value.startswith("sunalign.")}):
            yield kind, name


def our_plugins():
    """Every plugin of ours that can be imported, and the errors of the others."""
    plugins, broken = [], {}
    for kind, name in our_names():
        try:
            cls = registry.load(kind, name)
        except PluginLoadError as error:
            broken[name] = error
            continue
        plugins += [cls(**options) for options in ({}, *VARIANTS.get(name, []))]
    return plugins, broken


PLUGINS, BROKEN = our_plugins()


def expected(plugin):
    return EXPECTED_FAILURES.get(type(plugin).__name__, {})


@parametrize_with_checks(PLUGINS, expected_failures=expected)
def test_conforms(plugin, check):
    check(plugin)


@pytest.mark.parametrize("name", [name for _, name in our_names()])
def test_every_advertised_plugin_loads(name):
    assert name not in BROKEN, BROKEN[name]


METRICS = [plugin for plugin in PLUGINS if isinstance(plugin, Metric)]


@pytest.mark.parametrize("metric", METRICS, ids=repr)
@given(pair=strategies.masked_pairs())
def test_score_of_anything_is_a_quiet_float(metric, pair):
    reference, target, mask = pair
    score = metric.score(reference, target, mask)
    assert isinstance(score, float)
    assert not np.isinf(score)
    junk = np.where(mask, np.nan, reference)
    assert metric.score(junk, target, mask) == pytest.approx(score, rel=1e-9, abs=1e-9, nan_ok=True)
