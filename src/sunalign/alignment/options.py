"""Loose keywords to the plugin that owns them.

``align(..., optimizer="hill-climb", n_neighbors=60)`` builds ``HillClimb(n_neighbors=60)`` because exactly one of the
chosen plugins has that option. Nothing is guessed and nothing is dropped.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from sunalign.abc import Plugin
from sunalign.registry import KINDS, resolve

__all__ = ["make_plugins"]

Choice = str | type[Plugin] | Plugin


def make_plugins(
    choices: Mapping[type[Plugin], Choice], options: Mapping[str, Any], reserved: Iterable[str] = ()
) -> dict[type[Plugin], Any]:
    """Build one plugin of every kind.

    Parameters
    ----------
    choices : mapping
        A name, a class or an instance for every kind. An instance is final.
    options : mapping
        Loose keywords. Each must be an option of exactly one of the chosen classes.
    reserved : iterable of `str`
        The caller's own keywords, one of which a misspelt option may have meant.

    Returns
    -------
    `dict`
        An instance for every kind.
    """
    resolved = {kind: resolve(kind, choice) for kind, choice in choices.items()}
    for plugin in resolved.values():
        plugin.option_names()  # refuses a plugin whose options have no names, whether or not one is given
    owned: dict[type[Plugin], dict[str, Any]] = {kind: {} for kind in resolved}
    for name, value in options.items():
        owned[_owner(name, resolved, reserved)][name] = value
    return {kind: plugin(**owned[kind]) if isinstance(plugin, type) else plugin for kind, plugin in resolved.items()}


def _owner(name: str, resolved: dict[type[Plugin], Any], reserved: Iterable[str]) -> type[Plugin]:
    owners = [kind for kind, plugin in resolved.items() if name in plugin.option_names()]
    if not owners:
        raise TypeError(_nobody(name, resolved, reserved))
    if len(owners) > 1:
        both = " and ".join(_describe(kind, resolved[kind]) for kind in owners)
        raise TypeError(f"The option '{name}' belongs to {both}. Pass instances to say which is meant.")
    plugin = resolved[owners[0]]
    if not isinstance(plugin, type):
        raise TypeError(
            f"The option '{name}' belongs to {_describe(owners[0], plugin)}, which was passed as an instance; "
            f"set it there: {type(plugin).__name__}({name}=...)."
        )
    return owners[0]


def _describe(kind: type[Plugin], plugin: Any) -> str:
    cls = plugin if isinstance(plugin, type) else type(plugin)
    return f"the {KINDS[kind][1]} {cls.__name__}"


def _nobody(name: str, resolved: dict[type[Plugin], Any], reserved: Iterable[str]) -> str:
    known = [option for plugin in resolved.values() for option in plugin.option_names()]
    near = difflib.get_close_matches(name, [*known, *reserved], n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    listed = "; ".join(
        f"{_describe(kind, plugin)}: {', '.join(plugin.option_names()) or 'none'}" for kind, plugin in resolved.items()
    )
    return f"No chosen plugin has an option named '{name}'.{hint} Options here: {listed}."
