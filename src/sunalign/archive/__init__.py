"""Archives: thousands of tasks from one table, with state in files, on one machine or on a cluster.

A manifest has one row a task: what is aligned with what, and what differs from the presets. `align_archive` does
what is missing or changed, and leaves one JSON a task, a table of all results, and a page to look at them.
"""

from typing import TYPE_CHECKING

from sunalign._lazy import lazy

if TYPE_CHECKING:
    from sunalign.archive._manifest import Manifest, Task, read_manifest
    from sunalign.archive._match import make_manifest
    from sunalign.archive._run import align_archive
    from sunalign.archive._table import read_results
    from sunalign.archive._trend import fit_trend
    from sunalign.archive.demo import simulate_archive

__all__ = [
    "Manifest",
    "Task",
    "align_archive",
    "fit_trend",
    "make_manifest",
    "read_manifest",
    "read_results",
    "simulate_archive",
]

# Loaded when first asked for: the command line asks for its options only, and should not wait for joblib.
__getattr__, __dir__ = lazy(
    "sunalign.archive",
    {
        "Manifest": "_manifest",
        "Task": "_manifest",
        "align_archive": "_run",
        "fit_trend": "_trend",
        "make_manifest": "_match",
        "read_manifest": "_manifest",
        "read_results": "_table",
        "simulate_archive": "demo",
    },
)
