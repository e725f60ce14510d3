"""The commands ``sunalign archive`` and ``sunalign manifest``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.table import QTable

    from sunalign.archive._manifest import Manifest, Task
    from sunalign.archive._plan import Plan, Settings

__all__ = ["add_commands"]

#: Exit code by state, from good to bad; the worst of all tasks counts.
EXIT_CODES = {"done": 0, "doubtful": 3, "no-reference": 4, "failed": 1, "interrupted": 5, "running": 5, "waiting": 5}

_EPILOG = (
    "Exit codes, by the worst state of the tasks asked for: 0 done, 3 doubtful, 4 no reference, 1 failed, or an error, "
    "5 interrupted or left: run it again to go on; 2 wrong usage, 130 stopped by Ctrl-C."
)
_PATIENCE = "20s"  # For an answer of a scheduler.
_SHOWN = 20  # Lines about tasks that are not done.

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    command : callable
        Makes the parser of a command from its name, what runs it, and one line of help.
    """
    _add_archive(command("archive", _archive, "align all targets of a manifest; run again, it goes on"))
    _add_manifest(command("manifest", _manifest, "write the manifest of a directory of targets and one of images"))


def _add_archive(parser: argparse.ArgumentParser) -> None:
    from sunalign._command_line import read_duration

    parser.epilog = _EPILOG
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="table with one row a task, ECSV or CSV")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where all output goes")
    parser.add_argument("--presets", type=Path, metavar="FILE", help="YAML with options by the name of their preset")
    which = parser.add_argument_group("which tasks")
    which.add_argument("--task", action="append", metavar="ID", help="only this one; may be given again")
    which.add_argument("--shard", metavar="I/N", help="only every N-th from the I-th, for job arrays")
    which.add_argument("--retry", default="", metavar="STATES",
                       help="do these again too, such as failed,doubtful,interrupted")  # fmt: skip
    which.add_argument("--checksum", action="store_true",
                       help="notice changed files by headers and DATASUM instead of size and time")  # fmt: skip
    how = parser.add_argument_group("how")
    workers = how.add_mutually_exclusive_group()
    workers.add_argument("--n-jobs", type=int, metavar="N", help="tasks at a time; -1 for one a core")
    workers.add_argument("--dask", metavar="SCHEDULER", help="address of a dask scheduler, such as tcp://host:8786")
    how.add_argument("--timeout", type=read_duration, metavar="TIME", help="longest time for a task, such as 10min")
    how.add_argument("-q", "--no-progress", action="store_true", help="no progress bar")
    output = parser.add_argument_group("output")
    output.add_argument("--no-corrected", action="store_true", help="no corrected copies of the targets")
    output.add_argument("--no-thumbnails", action="store_true", help="no pictures")
    output.add_argument("--no-pages", action="store_true", help="no page of every task")
    output.add_argument("--keyword", action="append", metavar="CARD",
                        help="card of the headers to be kept in the table; may be given again")  # fmt: skip
    instead = parser.add_argument_group("instead of doing them").add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="check the manifest, and say what would be done")
    instead.add_argument("--list", action="store_true", help="one line a task: id, state and target, by tabs")
    instead.add_argument("--report", action="store_true", help="write the table and the pages of what is there")


def _add_manifest(parser: argparse.ArgumentParser) -> None:
    from sunalign._command_line import read_duration

    parser.add_argument("targets", type=Path, metavar="TARGETS", help="directory of targets")
    parser.add_argument("images", type=Path, metavar="IMAGES", help="directory of images that can be trusted")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="manifest, .ecsv or .csv")
    parser.add_argument("--detector", metavar="NAME", help="only images of this detector, such as FSI174")
    parser.add_argument("--pattern", default="*", metavar="GLOB", help="only targets with such a name")
    parser.add_argument("--nearest", action="store_true", default=None, help="one image for each, nearest in time")
    parser.add_argument("--max-gap", type=read_duration, metavar="TIME", help="longest time without an image: 20min")
    parser.add_argument("--overwrite", action="store_true", help="replace a manifest that exists")
    parser.add_argument("-q", "--no-progress", action="store_true", help="no progress bar")


# sunalign manifest


def _manifest(options: argparse.Namespace) -> int:
    from sunalign._command_line import UsageError
    from sunalign.archive import make_manifest
    from sunalign.files.output import atomic_write, check_output

    formats = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}
    if options.output.suffix not in formats:
        raise UsageError(f"A manifest is a table such as manifest.ecsv or manifest.csv; got {options.output}.")
    check_output(Path(os.path.realpath(options.output)), options.overwrite)
    table = make_manifest(
        options.targets,
        options.images,
        detector=options.detector,
        pattern=options.pattern,
        nearest=options.nearest,
        max_gap=options.max_gap,
        relative_to=options.output.parent,
        progress=not options.no_progress and sys.stderr.isatty(),
    )
    with atomic_write(options.output, options.overwrite) as temporary:
        table.write(temporary, format=formats[options.output.suffix], overwrite=True)
    print(f"Wrote {options.output}: {_tasks(len(table))}")
    return 0


# sunalign archive


def _archive(options: argparse.Namespace) -> int:
    from sunalign.exceptions import ArchiveError

    try:
        return _asked_for(options)
    except ArchiveError as error:
        print(f"sunalign: error: {error}", file=sys.stderr)
        return EXIT_CODES["interrupted"]


def _asked_for(options: argparse.Namespace) -> int:
    from sunalign.archive._manifest import read_manifest
    from sunalign.archive._plan import retried
    from sunalign.archive._run import align_archive, selected

    again = _usage(retried, options.retry)
    manifest = read_manifest(options.manifest, options.presets)
    tasks = _usage(selected, manifest, options.shard, options.task)
    if options.dry_run or options.list:
        return _look(options, manifest, tasks, again)
    if options.report:
        return _report(options, manifest, tasks)
    settings = _settings(options)
    with _cluster(options.dask) as n_jobs, _terminated():
        table = align_archive(
            manifest,
            options.out,
            n_jobs=options.n_jobs if options.dask is None else n_jobs,
            retry=again,
            shard=options.shard,
            task=options.task,
            # One task of many, by Make or Snakemake: the report would be written ten thousand times.
            report=options.task is None,
            progress=not options.no_progress and sys.stderr.isatty(),
            **settings.__dict__,
        )
    return _told(options, table, tasks, written=options.task is None)


def _usage(read: Callable[..., Any], *arguments: Any) -> Any:
    """Read what was typed; what cannot be read is wrong usage."""
    from sunalign._command_line import UsageError

    try:
        return read(*arguments)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _settings(options: argparse.Namespace) -> Settings:
    from sunalign.archive._outputs import KEYWORDS
    from sunalign.archive._plan import Settings

    return Settings(
        inputs="checksum" if options.checksum else "mtime",
        timeout=None if options.timeout is None else float(options.timeout.to_value("s")),
        corrected=not options.no_corrected,
        thumbnails=not options.no_thumbnails,
        pages=not options.no_pages,
        keywords=tuple(key.upper() for key in options.keyword or KEYWORDS),
    )


def _look(options: argparse.Namespace, manifest: Manifest, tasks: list[Task], again: frozenset[str]) -> int:
    from sunalign.archive._run import planned

    plans = planned(manifest, options.out, _settings(options), again, tasks)
    if options.list:
        for plan in plans:
            print(plan.job.id, plan.state, plan.job.target, sep="\t")
        return 0
    count = left = 0
    for plan in plans:
        count, left = count + 1, left + bool(plan.reason)
        if plan.reason:
            print(f"{plan.job.id}: {plan.reason}{_lack(plan)}")
    print(f"{manifest.path} is sound: {_tasks(count)}, {left} to be done, {count - left} as they should be.")
    _tell_of_others(options.out, manifest)
    return 0


def _lack(plan: Plan) -> str:
    """What a task lacks, in words."""
    if plan.job.inputs[0]["size"] is None:
        return f" (no target: there is no file {plan.job.target})"
    return f" (no reference: {plan.job.missing})" if plan.job.missing else ""


def _tell_of_others(out: Path, manifest: Manifest) -> None:
    """Name tasks of the output that the manifest has no longer: their files stay, and look as good as the others."""
    from sunalign.archive._store import Store

    others = sorted(Store(out).records() - {task.id for task in manifest})
    if others:
        named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        print(f"{out} also has the files of {_tasks(len(others))} that the manifest has not: {named}.")


def _tasks(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"


def _report(options: argparse.Namespace, manifest: Manifest, tasks: list[Task]) -> int:
    from sunalign.archive._run import make_report, prepare
    from sunalign.archive._store import Store

    store = Store(options.out)
    prepare(store)
    return _told(options, make_report(manifest, store, _settings(options)), tasks, written=True)


def _told(options: argparse.Namespace, table: QTable, tasks: list[Task], written: bool) -> int:
    """Say what came of it; the exit code."""
    wanted = {task.id for task in tasks}
    rows = [row for row in table.iterrows("id", "state", "message") if row[0] in wanted]
    bad = [(name, state, text) for name, state, text in rows if state != "done"]
    for name, state, text in bad[:_SHOWN]:
        print(f"{name}: {state}" + (f". {text}" if text else ""))
    if len(bad) > _SHOWN:
        print(f"... and {len(bad) - _SHOWN} more; {options.out / 'index.html'} has all")
    count = Counter(str(state) for _, state, _ in rows)
    print(", ".join(f"{count[state]} {state}" for state in EXIT_CODES if count[state]) or "No task in this shard")
    if written:
        print(f"Wrote {options.out / 'results.ecsv'} and {options.out / 'index.html'}")
    order = list(EXIT_CODES)
    worst = max((str(state) for _, state, _ in rows), key=order.index, default="done")
    return EXIT_CODES[worst]


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[int | None]:
    """Hand the tasks to the workers of a scheduler."""
    if address is None:
        yield None
        return
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            f"--dask needs dask.distributed ({error.name} is missing); pip install 'sunalign[dask]'."
        ) from error
    import joblib

    try:
        dask: Any = distributed  # which is not typed
        client = dask.Client(address, timeout=_PATIENCE, set_as_default=True)
    except (OSError, ValueError) as error:
        raise OSError(f"No dask scheduler answers at {address}; start one, or check the address.") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=600)
        except TimeoutError as error:
            raise OSError(f"The dask scheduler at {address} has had no worker for ten minutes.") from error
        with joblib.parallel_config("dask"):
            yield None


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Take the signal by which queues end a job for Ctrl-C, so that what is under way is named."""

    def stop(*_: Any) -> None:
        # A second one ends what takes no notice of the first.
        signal.signal(signal.SIGTERM, before)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
