"""The conformance kit: which laws hold for which kind of plugin, and how to run them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sunalign.abc import Corrector, Metric, Optimizer, Plugin, ReferenceBuilder
from sunalign.testing import (
    checks_corrector,
    checks_metric,
    checks_optimizer,
    checks_plugin,
    checks_reference_builder,
    checks_whole,
)
from sunalign.testing._law import Check

__all__ = ["check_plugin", "checks_for", "parametrize_with_checks"]

Expected = Mapping[str, str] | Callable[[Plugin], Mapping[str, str]] | None

_BY_KIND: dict[type[Plugin], tuple[Check, ...]] = {
    Metric: checks_metric.CHECKS,
    Optimizer: checks_optimizer.CHECKS,
    ReferenceBuilder: checks_reference_builder.CHECKS,
    Corrector: checks_corrector.CHECKS,
}


def checks_for(plugin: Plugin) -> Iterator[Check]:
    """Laws that a plugin has to keep.

    Parameters
    ----------
    plugin : `~sunalign.abc.Plugin`
        An instance, so that its options are tested too.

    Yields
    ------
    callable
        ``check(plugin)`` raises `AssertionError` where the law is broken; its name and docstring say which law.
    """
    if not isinstance(plugin, tuple(_BY_KIND)):
        raise TypeError(
            f"The kit checks instances of sunalign.abc.Metric, Optimizer, ReferenceBuilder or Corrector; "
            f"got {_described(plugin)}."
        )
    yield from checks_plugin.CHECKS
    for kind, checks in _BY_KIND.items():
        if isinstance(plugin, kind):
            yield from checks
    yield from checks_whole.CHECKS


def check_plugin(plugin: Plugin, *, expected_failures: Mapping[str, str] | None = None) -> None:
    """Hold a plugin to every law, in any Python session.

    Parameters
    ----------
    plugin : `~sunalign.abc.Plugin`
        An instance.
    expected_failures : mapping, optional
        Name of a check to the reason why it does not hold; those are left out.

    Raises
    ------
    ExceptionGroup
        One `AssertionError`, or whatever the plugin raised, for every law that is broken.

    Examples
    --------
    >>> from sunalign.metrics import NCC
    >>> from sunalign.testing import check_plugin
    >>> check_plugin(NCC())
    """
    checks = list(checks_for(plugin))
    left_out = _checked(expected_failures, checks)
    broken: list[Exception] = []
    for check in checks:
        if check.__name__ in left_out:
            continue
        try:
            check(plugin)
        except Exception as error:  # noqa: BLE001  (whatever a wrong plugin raises belongs into the report)
            error.add_note(f"in {check.__name__}: {(check.__doc__ or '').splitlines()[0]}")
            broken.append(error)
    if broken:
        raise ExceptionGroup(f"{plugin!r} breaks {len(broken)} of {len(checks)} laws.", broken)


def parametrize_with_checks(plugins: Sequence[Plugin], *, expected_failures: Expected = None) -> Any:
    """Make a pytest test of every law for every plugin.

    Parameters
    ----------
    plugins : sequence of `~sunalign.abc.Plugin`
        Instances, so that options are tested too.
    expected_failures : mapping or callable, optional
        Name of a check to the reason why it does not hold, or a function that makes such a mapping of a plugin. Such a
        test is expected to fail: the day it passes, the entry has to go.

    Returns
    -------
    decorator
        For a test with the arguments ``plugin`` and ``check``. Its cases are called ``HillClimb()-check_name``.

    Examples
    --------
    .. code-block:: python

        from sunalign.testing import parametrize_with_checks


        @parametrize_with_checks([MyOptimizer(), MyMetric(width=3)])
        def test_conforms(plugin, check):
            check(plugin)
    """
    import pytest

    if not callable(expected_failures):
        _checked(expected_failures, [check for plugin in plugins for check in checks_for(plugin)])
    cases = []
    for plugin in plugins:
        reasons = (expected_failures(plugin) if callable(expected_failures) else expected_failures) or {}
        for check in checks_for(plugin):
            reason = reasons.get(check.__name__)
            marks = () if reason is None else pytest.mark.xfail(reason=reason, strict=True)
            cases.append(pytest.param(plugin, check, id=f"{_short(plugin)}-{check.__name__}", marks=marks))
    return pytest.mark.parametrize(("plugin", "check"), cases)


def _checked(expected_failures: Mapping[str, str] | None, checks: Sequence[Check]) -> Mapping[str, str]:
    known = [check.__name__ for check in checks]
    for name in expected_failures or {}:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"'expected_failures' names '{name}', which is no check of these plugins.{hint}")
    return expected_failures or {}


def _short(plugin: Plugin) -> str:
    """Class and the options that differ from their defaults."""
    options = checks_plugin.changed_options(plugin)
    return f"{type(plugin).__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"


def _described(plugin: object) -> str:
    return f"the class {plugin.__name__}; make an instance" if isinstance(plugin, type) else type(plugin).__name__
