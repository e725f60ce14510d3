"""Laws for every plugin: its constructor's keywords are its options, and it is nothing but its options."""

from __future__ import annotations

import inspect
import pickle
import sys
from typing import Any

import numpy as np

import astropy.units as u

from sunalign.abc import Plugin
from sunalign.registry import KINDS, load, names
from sunalign.testing._law import Check, require

__all__ = ["CHECKS", "changed_options"]


def changed_options(plugin: Plugin) -> dict[str, Any]:
    """Options that differ from their defaults; none where that cannot be told.

    Parameters
    ----------
    plugin : `~sunalign.abc.Plugin`
    """
    try:
        defaults = type(plugin)().options()
        return {name: value for name, value in plugin.options().items() if not _same(value, defaults[name])}
    except Exception:  # noqa: BLE001
        # It breaks the laws below, which will say so.
        return {}


def check_options_are_keywords(plugin: Plugin) -> None:
    """Every option is a named keyword: no positions to get wrong, no ``**kwargs`` to hide a misspelling."""
    for name, parameter in inspect.signature(type(plugin)).parameters.items():
        require(
            parameter.kind is parameter.KEYWORD_ONLY,
            f"{type(plugin).__name__} takes '{name}' otherwise than by keyword; make the class a frozen dataclass with "
            f"kw_only=True.",
        )


def check_options_have_defaults(plugin: Plugin) -> None:
    """A plugin can be chosen by its name alone."""
    for name, parameter in inspect.signature(type(plugin)).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            require(parameter.default is not parameter.empty, f"The option '{name}' has no default.")


def check_options_are_stored_as_given(plugin: Plugin) -> None:
    """A plugin that is built again from its options has the same ones."""
    given = plugin.options()
    stored = type(plugin)(**given).options()
    for name, value in given.items():
        require(_same(stored[name], value), f"'{name}' was given as {value!r} and is stored as {stored[name]!r}.")


def check_options_do_not_change(plugin: Plugin) -> None:
    """A plugin is frozen: what goes into HISTORY is what was used."""
    for name, value in plugin.options().items():
        try:
            setattr(plugin, name, value)
        except (AttributeError, TypeError):
            continue
        raise AssertionError(f"'{name}' can be set on an instance; make the class a frozen dataclass.")


def check_option_names_are_free(plugin: Plugin) -> None:
    """No option has the name of a keyword of `sunalign.align`: it could never be reached."""
    taken = sorted(_reserved() & set(plugin.option_names()))
    require(not taken, f"{_listed(taken)} cannot be an option: sunalign.align() has a keyword of that name.")


def check_repr_makes_an_equal_plugin(plugin: Plugin) -> None:
    """``repr`` can be pasted back; where an option's own cannot (a Quantity's), it is there word for word."""
    text = repr(plugin)
    if all(_evaluates(plugin, repr(value), value) for value in plugin.options().values()):
        require(_evaluates(plugin, text, plugin), f"Evaluating {text} does not give an equal plugin.")
        return
    require(text.startswith(f"{type(plugin).__qualname__}("), f"{text} does not say what class it is.")
    for name, value in plugin.options().items():
        require(f"{name}={value!r}" in text, f"{text} does not say what '{name}' is.")


def check_pickle_gives_an_equal_plugin(plugin: Plugin) -> None:
    """A plugin travels to a worker process and is the same there."""
    try:
        copy = pickle.loads(pickle.dumps(plugin))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise AssertionError(f"{plugin!r} cannot be pickled: {error}.") from error
    require(type(copy) is type(plugin) and copy == plugin, f"{plugin!r} differs from itself after a trip by pickle.")


def check_advertised_name_loads_it(plugin: Plugin) -> None:
    """A name that an entry point gives to this class loads it; a class that has none passes."""
    from sunalign.registry import advertised  # the entry points themselves are no business of anyone else

    for kind, (group, word) in KINDS.items():
        if not isinstance(plugin, kind):
            continue
        for name in names(kind):
            if any(_points_at(ep.value, type(plugin)) for ep in advertised(group)[name]):
                require(load(kind, name) is type(plugin), f"The {word} '{name}' is not {type(plugin).__qualname__}.")


CHECKS: tuple[Check, ...] = (
    check_options_are_keywords,
    check_options_have_defaults,
    check_options_are_stored_as_given,
    check_options_do_not_change,
    check_option_names_are_free,
    check_repr_makes_an_equal_plugin,
    check_pickle_gives_an_equal_plugin,
    check_advertised_name_loads_it,
)


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return bool(np.all(one == other)) and type(one) is type(other)
    except (TypeError, ValueError):
        return False


def _reserved() -> set[str]:
    from sunalign.alignment.align import align
    from sunalign.alignment.attach import align_to

    keywords = {*inspect.signature(align).parameters, *inspect.signature(align_to).parameters}
    return keywords - {"options"}


def _evaluates(plugin: Plugin, text: str, value: Any) -> bool:
    cls = type(plugin)
    # A nested class is written with its full path, which is no expression where a function is part of it.
    text = text.replace(cls.__qualname__, cls.__name__, 1) if text.startswith(cls.__qualname__) else text
    known = {**vars(sys.modules[cls.__module__]), "np": np, "u": u, "nan": np.nan, "inf": np.inf, cls.__name__: cls}
    try:
        again = eval(text, known)
    except Exception:  # noqa: BLE001  (a repr can fail to be Python in any way)
        return False
    return _same(again, value)


def _points_at(value: str, cls: type) -> bool:
    module, _, attribute = value.partition(":")
    return attribute == cls.__qualname__ and (cls.__module__ == module or cls.__module__.startswith(f"{module}."))


def _listed(words: list[str]) -> str:
    return " and ".join(f"'{word}'" for word in words)
