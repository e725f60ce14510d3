"""Every row of the table of registration, with entry points made by hand."""

import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from sunalign import registry
from sunalign.abc import Corrector, Metric, Optimizer, ReferenceBuilder
from sunalign.exceptions import PluginConflictError, PluginError, PluginLoadError, UnknownPluginError
from sunalign.metrics import NCC
from sunalign.optimizers import HillClimb


@dataclass
class Distribution:
    """What an `EntryPoint` knows of the package that brings it."""

    name: str = "solar-tools"
    version: str = "1.2"


def entry(name, value, kind=Optimizer, dist=None):
    return EntryPoint(name, value, registry.KINDS[kind][0])._for(dist or Distribution())


@pytest.fixture
def install(monkeypatch):
    """Make `registry` believe that these entry points, and no others, are installed."""

    def put(*entries):
        monkeypatch.setattr(registry, "entry_points", lambda group: [ep for ep in entries if ep.group == group])
        registry.clear_cache()

    yield put
    monkeypatch.undo()
    registry.clear_cache()


HILL_CLIMB = "sunalign.optimizers:HillClimb"


def test_our_own_plugins_are_found():
    assert registry.load(Metric, "ncc") is NCC
    assert registry.load(Optimizer, "hill-climb") is HillClimb
    assert "image" in registry.names(ReferenceBuilder)
    assert {"wcs", "ndcube", "fits"} <= set(registry.names(Corrector))


def test_hyphens_and_underscores_are_one(install):
    assert registry.load(Optimizer, "hill_climb") is HillClimb
    install(entry("my_search", HILL_CLIMB))
    assert registry.load(Optimizer, "my_search") is HillClimb


@pytest.mark.parametrize("name", ["hil-climb", "hill_clim", "Hill-climb"])
def test_unknown_name_with_a_near_miss(name):
    with pytest.raises(UnknownPluginError) as caught:
        registry.load(Optimizer, name)
    message = str(caught.value)
    assert f"There is no optimizer named '{name}'. Did you mean 'hill-climb'?" in message
    assert "'coarse-to-fine', " in message
    assert message.endswith("another appears here once the package that brings it is installed.")
    assert isinstance(caught.value, ValueError)


def test_unknown_name_like_nothing_else():
    with pytest.raises(UnknownPluginError) as caught:
        registry.load(Metric, "qqq")
    assert "Did you mean" not in str(caught.value)
    assert "'ncc'" in str(caught.value)


def test_unknown_name_where_nothing_is_installed(install):
    install()
    assert registry.names(Optimizer) == ()
    with pytest.raises(UnknownPluginError, match="Installed: none;"):
        registry.load(Optimizer, "hill-climb")


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("solar_tools_is_not_there:Search", ModuleNotFoundError),
        ("sunalign.optimizers:NoSuchThing", AttributeError),
    ],
)
def test_import_failure_names_the_package_and_keeps_the_cause(install, value, cause):
    install(entry("search", value), entry("hill-climb", HILL_CLIMB))
    with pytest.raises(PluginLoadError) as caught:
        registry.load(Optimizer, "search")
    message = str(caught.value)
    assert f"The optimizer 'search' of solar-tools 1.2 cannot be imported from {value}: {cause.__name__}: " in message
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, cause)
    # It is the trouble only of whoever asks for it.
    assert registry.names(Optimizer) == ("hill-climb", "search")
    assert registry.load(Optimizer, "hill-climb") is HillClimb


def test_import_failure_of_an_unknown_package(install, monkeypatch):
    install(EntryPoint("search", "solar_tools_is_not_there:Search", "sunalign.optimizers"))
    with pytest.raises(PluginLoadError, match="of an unknown package cannot be imported"):
        registry.load(Optimizer, "search")


@pytest.mark.parametrize("value", ["sunalign.metrics:NCC", "math:sqrt", "sunalign.abc:Plugin"])
def test_not_a_subclass(install, value):
    install(entry("search", value))
    with pytest.raises(PluginLoadError) as caught:
        registry.load(Optimizer, "search")
    message = str(caught.value)
    assert f"points at {value}, which is not a subclass of sunalign.abc.Optimizer" in message
    assert "solar-tools" in message


def test_two_owners_conflict_only_for_whoever_asks(install):
    install(
        entry("search", HILL_CLIMB),
        entry("search", "other_tools:Search", dist=Distribution("other-tools")),
        entry("hill-climb", HILL_CLIMB),
    )
    assert registry.names(Optimizer) == ("hill-climb", "search")
    assert len([row for row in registry.installed() if row["name"] == "search"]) == 2
    with pytest.raises(PluginConflictError) as caught:
        registry.load(Optimizer, "search")
    message = str(caught.value)
    assert "other-tools (other_tools:Search) and solar-tools (sunalign.optimizers:HillClimb)" in message
    assert "Pass the class itself" in message
    assert isinstance(caught.value, ValueError)


def test_one_entry_point_listed_twice_is_one(install):
    install(entry("search", HILL_CLIMB), entry("search", HILL_CLIMB))
    assert registry.load(Optimizer, "search") is HillClimb


def test_order_of_discovery_does_not_matter(install):
    entries = [entry(name, HILL_CLIMB) for name in ("c", "a", "b")]
    install(*entries)
    forwards = registry.installed()
    install(*reversed(entries))
    assert registry.installed() == forwards
    assert registry.names(Optimizer) == ("a", "b", "c")


def test_listing_never_imports(install):
    install(entry("broken", "solar_tools_is_not_there:Search"))
    assert registry.names(Optimizer) == ("broken",)
    assert registry.installed() == [
        {
            "kind": "optimizer",
            "name": "broken",
            "target": "solar_tools_is_not_there:Search",
            "distribution": "solar-tools",
            "version": "1.2",
        }
    ]


def test_listing_leaves_the_modules_alone(install):
    # Modules of the standard library that nobody imports.
    install(entry("zen", "this:s"), entry("levity", "antigravity:fly", Metric))
    before = set(sys.modules)
    assert registry.names(Optimizer) == ("zen",)
    assert len(registry.installed()) == 2
    assert set(sys.modules) == before


def test_resolve_takes_a_name_a_class_or_an_instance():
    instance = HillClimb(n_neighbors=5)
    assert registry.resolve(Optimizer, "hill-climb") is HillClimb
    assert registry.resolve(Optimizer, HillClimb) is HillClimb
    assert registry.resolve(Optimizer, instance) is instance


@pytest.mark.parametrize("choice", [3, None, NCC, NCC(), object, {"name": "hill-climb"}])
def test_resolve_refuses_the_rest(choice):
    with pytest.raises(TypeError) as caught:
        registry.resolve(Optimizer, choice)
    message = str(caught.value)
    assert message.startswith("An optimizer is a name, a class that extends sunalign.abc.Optimizer, or an instance")
    assert "'hill-climb'" in message


def test_name_of():
    class Mine(HillClimb):
        pass

    assert registry.name_of(HillClimb()) == "hill-climb"
    assert registry.name_of(NCC()) == "ncc"
    assert registry.name_of(Mine()).endswith("Mine")


def test_name_of_is_not_that_of_another_class_of_the_same_name(install):
    install(entry("search", "sunalign.opti:HillClimb"))
    assert registry.name_of(HillClimb()) == "HillClimb"


def test_every_plugin_error_is_one():
    for error in (UnknownPluginError, PluginLoadError, PluginConflictError):
        assert issubclass(error, PluginError)
