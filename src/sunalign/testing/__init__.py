"""Laws that every plugin keeps, for the tests of whoever writes one.

`parametrize_with_checks` makes a pytest test of them, `check_plugin` runs them in any session.
`sunalign.testing.strategies` holds hypothesis strategies, `sunalign.testing.helpers` small images and searches. pytest
and hypothesis come with ``sunalign[testing]``; they are imported only by what needs them.
"""

from sunalign.testing.checks import check_plugin, checks_for, parametrize_with_checks

__all__ = ["check_plugin", "checks_for", "parametrize_with_checks"]
