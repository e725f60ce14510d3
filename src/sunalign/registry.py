"""Plugins by name, found through entry points.

Listing never imports a plugin. `importlib.metadata` does the discovery: the ``entrypoints`` distribution says of
itself that it is in maintenance only and that new code should use the standard library.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from sunalign.abc import Corrector, Metric, Optimizer, Plugin, ReferenceBuilder
from sunalign.exceptions import PluginConflictError, PluginLoadError, UnknownPluginError, describe_error

__all__ = ["KINDS", "clear_cache", "installed", "load", "name_of", "names", "resolve"]

P = TypeVar("P", bound=Plugin)

#: Entry-point group and word for every kind of plugin.
KINDS: dict[type[Plugin], tuple[str, str]] = {
    Metric: ("sunalign.metrics", "metric"),
    Optimizer: ("sunalign.optimizers", "optimizer"),
    ReferenceBuilder: ("sunalign.reference_builders", "reference builder"),
    Corrector: ("sunalign.correctors", "corrector"),
}


@cache
def advertised(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points of one group by name; more than one where packages claim the same name.

    Parameters
    ----------
    group : `str`
        Such as ``"sunalign.metrics"``.
    """
    # Python 3.11 can list one entry point twice when a path occurs twice on sys.path, hence the dict on
    # (name, value, distribution). Order is not promised, hence the sort.
    unique = {(ep.name, ep.value, _distribution(ep)): ep for ep in entry_points(group=group)}
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for (name, _, _), ep in sorted(unique.items(), key=lambda item: item[0]):
        found[name] = (*found.get(name, ()), ep)
    return found


def clear_cache() -> None:
    """Forget what is installed, so that the next call looks again."""
    advertised.cache_clear()


def _distribution(ep: EntryPoint) -> str:
    return ep.dist.name if ep.dist is not None else "an unknown package"


def names(kind: type[Plugin]) -> tuple[str, ...]:
    """Names of the installed plugins of one kind, sorted; nothing is imported.

    Parameters
    ----------
    kind : class
        One of the four of `sunalign.abc`, such as `~sunalign.abc.Metric`.
    """
    return tuple(sorted(advertised(KINDS[kind][0])))


def installed() -> list[dict[str, str]]:
    """Every installed plugin: its kind, name, target and the distribution that brings it. Nothing is imported."""
    return [
        {
            "kind": word,
            "name": name,
            "target": ep.value,
            "distribution": _distribution(ep),
            "version": ep.dist.version if ep.dist is not None else "",
        }
        for group, word in KINDS.values()
        for name, owners in advertised(group).items()
        for ep in owners
    ]


def load(kind: type[P], name: str) -> type[P]:
    """Import the plugin class of that name.

    Parameters
    ----------
    kind : `type`
        `~sunalign.abc.Metric`, `~sunalign.abc.Optimizer`, `~sunalign.abc.ReferenceBuilder` or
        `~sunalign.abc.Corrector`.
    name : `str`
        Lower-case words with hyphens; ``hill_climb`` is taken as ``hill-climb``.

    Raises
    ------
    ~sunalign.exceptions.UnknownPluginError, ~sunalign.exceptions.PluginConflictError
        None, or more than one, is installed.
    ~sunalign.exceptions.PluginLoadError
        It cannot be imported, or is not of that kind.
    """
    group, word = KINDS[kind]
    owners = advertised(group).get(name) or advertised(group).get(name.replace("_", "-"))
    if not owners:
        raise UnknownPluginError(_unknown(word, name, names(kind)))
    if len(owners) > 1:
        who = " and ".join(f"{_distribution(ep)} ({ep.value})" for ep in owners)
        raise PluginConflictError(
            f"Two installed packages offer the {word} '{name}': {who}. Pass the class itself, or uninstall one of them."
        )
    (ep,) = owners
    try:
        plugin = ep.load()
    except Exception as error:
        version = f" {ep.dist.version}" if ep.dist is not None else ""
        raise PluginLoadError(
            f"The {word} '{name}' of {_distribution(ep)}{version} cannot be imported from {ep.value}: "
            f"{describe_error(error)}. Reinstall that package, or choose another {word}."
        ) from error
    if not (isinstance(plugin, type) and issubclass(plugin, kind)):
        raise PluginLoadError(
            f"The {word} '{name}' of {_distribution(ep)} points at {ep.value}, which is not a subclass of "
            f"sunalign.abc.{kind.__name__}; its author should extend that class."
        )
    return plugin


def resolve(kind: type[P], choice: str | type[P] | P) -> type[P] | P:
    """Turn a name into its class; let a class or an instance of the right kind through.

    Parameters
    ----------
    kind : class
        As in `names`.
    choice : `str`, class or `~sunalign.abc.Plugin`
        Only a name has its module imported.

    Raises
    ------
    TypeError
        If it is of another kind.
    """
    _, word = KINDS[kind]
    if isinstance(choice, str):
        return load(kind, choice)
    if isinstance(choice, kind) or (isinstance(choice, type) and issubclass(choice, kind)):
        return choice
    raise TypeError(
        f"{_article(word)} {word} is a name, a class that extends sunalign.abc.{kind.__name__}, or an instance of one; "
        f"{choice!r} is none of these. Installed: {_quoted(names(kind))}."
    )


def name_of(plugin: Plugin) -> str:
    """The name a plugin is registered under, else its class name.

    Parameters
    ----------
    plugin : `~sunalign.abc.Plugin`
        Of any kind.
    """
    for kind, (group, _) in KINDS.items():
        if isinstance(plugin, kind):
            target = f"{type(plugin).__module__}:{type(plugin).__qualname__}"
            for name, owners in advertised(group).items():
                if any(_same_target(ep.value, target, type(plugin)) for ep in owners):
                    return name
    return type(plugin).__name__


def _same_target(value: str, target: str, cls: type) -> bool:
    # Entry points name the public place (sunalign.metrics:NCC), __module__ the private one (sunalign.metrics._ncc).
    module, _, attribute = value.partition(":")
    return value == target or (attribute == cls.__qualname__ and cls.__module__.startswith(f"{module}."))


def _article(word: str) -> str:
    return "An" if word[0] in "aeiou" else "A"


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words) or "none"


def _unknown(word: str, name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"There is no {word} named '{name}'.{hint} Installed: {_quoted(known)}; "
        f"another appears here once the package that brings it is installed."
    )
