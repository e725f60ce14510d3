"""The command line: one function a command; those of sequences and archives are in their rooms."""

from __future__ import annotations

import argparse
import os
import re
import select
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u

import sunalign
from sunalign._command_line import (
    DOUBTFUL,
    ERROR,
    GOOD,
    USAGE,
    UsageError,
    read_angle,
    read_bounds,
    read_duration,
    read_hdus,
    read_names,
    read_pixels,
    read_setting,
)

if TYPE_CHECKING:
    from astropy.time import Time

    from sunalign.images import Image
    from sunalign.result import AlignmentResult

__all__ = ["main"]

#: Tables that can be written, by suffix, and what astropy calls them.
_TABLES = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits"}

_EPILOG = "Exit codes: 0 good, 1 error, 2 wrong usage, 3 aligned but doubtful (the output is written all the same)."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of `str`, optional
        Of the command line by default.

    Returns
    -------
    `int`
        Exit code: 0 good, 1 error, 3 aligned but doubtful. A wrong command line exits with 2.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    debug: bool = options.debug
    try:
        with _tidy(debug):
            code = int(options.run(options))
            sys.stdout.flush()
            return code
    except UsageError as error:
        options.parser.print_usage(sys.stderr)
        print(f"sunalign: error: {_typed(str(error))}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError as error:
        return _unread(error)
    except Exception as error:  # noqa: BLE001  (the user gets the message, and the rest with --debug)
        if _was_interrupted(error):
            return _interrupted()
        if debug:
            traceback.print_exc()
        else:
            print(f"sunalign: error: {_words(error)}", file=sys.stderr)
        return ERROR


def _interrupted() -> int:
    print("sunalign: interrupted", file=sys.stderr)
    return 130


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what an error comes from: some code, while it is imported, makes an error of its own of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _unread(error: BrokenPipeError) -> int:
    """Exit code where nobody reads any more, as ``| head`` does not, which is no fault."""
    if _nobody_reads():
        # What is left in the buffer would be written, and fail, at the end of Python.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    print(f"sunalign: error: {_words(error)}", file=sys.stderr)
    return ERROR


def _nobody_reads() -> bool:
    """Whether the other end of standard output is closed."""
    if sys.platform == "win32":
        return False
    look = select.poll()
    try:
        look.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # It is no file.
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0))


@contextmanager
def _tidy(debug: bool) -> Iterator[None]:
    """Show our own warnings as one line each; those of the libraries about odd headers only with --debug."""
    from sunpy import log

    from sunalign.exceptions import SunalignUserWarning

    level = log.level
    log.setLevel("DEBUG" if debug else "WARNING")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                for warning in caught:
                    if debug or issubclass(warning.category, SunalignUserWarning):
                        print(f"sunalign: warning: {_typed(str(warning.message))}", file=sys.stderr)
    finally:
        log.setLevel(level)


def _words(error: Exception) -> str:
    from sunalign.exceptions import ManifestError, PluginError

    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    # What stands in a manifest has the names that it has in Python.
    text = text if isinstance(error, ManifestError) else _typed(text)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    # Errors meant for the user are whole sentences; of the others the kind says more than the message.
    ours = isinstance(error, (ValueError, TypeError, OSError, PluginError)) and bool(text)
    return text if ours else f"{type(error).__name__}: {text}. Run it again with --debug to see where."


#: What an option of the command is called in Python, where messages come from.
_TYPED = {
    "overwrite=True": "--overwrite",
    "hdus='all'": "--hdus all",
    "'tolerance'": "--tolerance",
    "'retry'": "--retry",
    "'shard'": "--shard",
    "'timeout'": "--timeout",
    "'max_shift'": "--max-shift",
    "max_shift": "--max-shift",
    "max_gap": "--max-gap",
    "'n_jobs'": "--n-jobs",
    "n_jobs": "--n-jobs",
    "'reference_builder'": "--reference-builder",
    "reference_builder": "--reference-builder",
    "working_grid='target'": "--set working_grid=target",
    "sunalign.correct() or 'sunalign apply'": "'sunalign apply'",
    "(in Python sorted(glob.glob(...)), in a shell without quotes)": "(without quotes the shell expands it)",
}
_PYTHON = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?!\w)" for name in sorted(_TYPED, key=len, reverse=True)))


def _typed(text: str) -> str:
    """Message with options as they are typed."""
    return _PYTHON.sub(lambda match: _TYPED[match[0]], text)


# The command line.


def make_parser() -> argparse.ArgumentParser:
    """Parser of all commands."""
    from sunalign.archive.command import add_commands as add_archive_commands
    from sunalign.sequences.command import add_sequence

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks, warnings and log messages")
    parser = argparse.ArgumentParser(
        prog="sunalign",
        description="Correct the pointing of solar images and slit rasters.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sunalign {sunalign.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            parents=[common],
            help=help_,
            description=f"{help_[0].upper()}{help_[1:]}.",
            epilog=_EPILOG,
            # An abbreviation in a script would change its meaning with the next option of that beginning.
            allow_abbrev=False,
        )
        made.set_defaults(run=run, parser=made)
        return made

    _add_align(command("align", _align, "align an image or raster with a reference whose pointing is trusted"))
    _add_raster(command("raster", _raster, "align a raster with the images that a directory holds for its time"))
    _add_apply(command("apply", _apply, "write a correction that was found before into other files"))
    _add_undo(command("undo", _undo, "take back the last correction written into a file"))
    command("plugins", _plugins, "list the installed plugins and the packages that bring them")
    _add_demo(command("demo", _demo, "simulate a raster with a known pointing error, and align it"))
    add_archive_commands(command)
    add_sequence(command)
    return parser


def _add_align(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        type=Path,
        metavar="TARGET",
        help="FITS file to be corrected; kept, unless -o names it too",
    )
    parser.add_argument("reference", type=Path, nargs="+", metavar="REFERENCE", help="FITS files that can be trusted")
    parser.add_argument("--reference-builder", metavar="NAME", help="how the reference is made of them")
    _add_search(parser)


def _add_raster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        type=Path,
        metavar="TARGET",
        help="FITS file of the raster; kept, unless -o names it too",
    )
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="where to look for images, also further down")
    parser.add_argument("--detector", metavar="NAME", help="only images of this detector, such as FSI")
    parser.add_argument("--max-gap", type=read_duration, metavar="TIME", help="longest time without an image: 20min")
    parser.add_argument(
        "--reference-builder", metavar="NAME", default="synthetic-raster", help="how the reference is made of them"
    )
    _add_search(parser)


def _add_search(parser: argparse.ArgumentParser) -> None:
    search = parser.add_argument_group("search")
    search.add_argument("--fit", default="shift", metavar="LIST", type=read_names,
                        help="what is free, such as shift,scale,drift or shift_x (default: shift)")  # fmt: skip
    search.add_argument("--max-shift", type=read_angle, metavar="ANGLE", help="largest shift (default: 120arcsec)")
    search.add_argument("--bounds", type=read_bounds, nargs="+", action="extend", default=[], metavar="NAME=LOW,HIGH",
                        help="such as scale_x=0.9,1.1 or rotation=-1deg,1deg")  # fmt: skip
    search.add_argument("--optimizer", metavar="NAME")
    search.add_argument("--metric", metavar="NAME")
    search.add_argument("--scaling", metavar="NAME", help="of the intensities: sqrt, log or linear")
    search.add_argument("--set", type=read_setting, nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        dest="settings", help="options of the plugins, such as n_neighbors=60")  # fmt: skip
    search.add_argument("--n-jobs", type=int, metavar="N", help="worker processes; -1 for one a core")
    search.add_argument("--rng", type=int, metavar="SEED", help="for optimizers that draw")
    search.add_argument("-q", "--no-progress", action="store_true", help="no progress bar")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", type=Path, metavar="OUT", help="copy of TARGET with corrected coordinates")
    output.add_argument("--plot", type=Path, metavar="FILE", help="figure of before and after")
    output.add_argument("--pointing", type=Path, metavar="FILE",
                        help="table of the pointing of the columns, where --fit has drift")  # fmt: skip
    output.add_argument("--lookup", choices=("wcsdvarr", "cpdis"),
                        help="write it into OUT as a lookup too, as SPICE does or astropy reads it")  # fmt: skip
    output.add_argument("--json", type=Path, metavar="FILE", help="the correction, as 'sunalign apply' reads it")
    output.add_argument("--report", type=Path, metavar="FILE", help="HTML page, with JSON beside it")
    output.add_argument("--overwrite", action="store_true", help="replace files that exist")
    _add_windows(output)


def _add_windows(parser: Any) -> None:
    parser.add_argument("--hdus", type=read_hdus, default="same-pointing", metavar="LIST",
                        help="images to correct: same-pointing, all, or numbers and names such as 0,1,MgIX "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--tolerance", type=read_pixels, default=0.1, metavar="PIXELS",
                        help="largest error of the written coordinates (default: %(default)s)")  # fmt: skip


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("correction", type=Path, metavar="CORRECTION.json", help="as 'align --json' writes it")
    _add_files(parser, "_aligned")
    _add_windows(parser)


def _add_undo(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, "_undone")


def _add_files(parser: argparse.ArgumentParser, suffix: str) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", type=Path, metavar="OUT", help="file to write, for a single FILE")
    where.add_argument("--suffix", default=suffix, help="added to the name of every FILE (default: %(default)s)")
    where.add_argument("--in-place", action="store_true", help="replace every FILE")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("sunalign-demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the Sun, the noise and the error")
    parser.add_argument("--archive", action="store_true", help="an archive of twelve rasters instead of one")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")


# Values on the command line.


# The commands.


def _align(options: argparse.Namespace) -> int:
    _check_instruments(options.target, options.reference)
    return _run(options, options.reference if len(options.reference) > 1 else options.reference[0])


def _check_instruments(target: Path, references: Sequence[Path]) -> None:
    """Refuse references of several instruments where one is the target's: it may be meant as another target."""
    if any(_same(path, target) for path in references):
        raise UsageError(f"{target} is TARGET and among the REFERENCE files; give it once.")
    if len(references) < 2:
        return
    names = {path: _instrument(path) for path in references}
    own = _instrument(target)
    same = [path for path, name in names.items() if name and name == own]
    others = [path for path, name in names.items() if name and name != own]
    if own and same and others:
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        raise UsageError(
            f"{same[0]}{more} is of the target's instrument ({own}) and {others[0]} of another ({names[others[0]]}), "
            f"so they cannot make one reference. There is one TARGET: run the command once for each, or leave it out."
        )


def _instrument(path: Path) -> str:
    """Spacecraft, instrument and detector of a file; empty where they cannot be read, which is told later."""
    from astropy.io import fits

    from sunalign.wcs.fits_plane import first_on_sky

    try:
        with fits.open(path) as hdus:
            header = first_on_sky(hdus, path).header
            words = [str(header.get(key, "")).strip() for key in ("OBSRVTRY", "TELESCOP", "INSTRUME", "DETECTOR")]
    except (OSError, ValueError, TypeError):
        return ""
    return " ".join(dict.fromkeys(word for word in words if word))


def _raster(options: argparse.Namespace) -> int:
    from sunalign.files.catalog import find_images
    from sunalign.images import to_image

    _check_outputs(options)
    start, end = _span(to_image(options.target))
    found = find_images(options.directory, start, end, detector=options.detector, max_gap=options.max_gap)
    # The raster itself, and what was written of it, may be in the directory too.
    own = {os.path.realpath(path) for path in (options.target, options.output) if path is not None}
    found = [path for path in found if os.path.realpath(path) not in own]
    print(f"{len(found)} image{'' if len(found) == 1 else 's'} for {start.isot} to {end.isot}")
    return _run(options, found)


def _span(image: Image) -> tuple[Time, Time]:
    """First and last time of a raster."""
    from sunalign.exceptions import ImageError

    times = image.times
    if times is None:
        raise ImageError(f"{image.name} does not say when it was taken; its header has neither a time axis nor a date.")
    return times.epoch + times.seconds.min() * u.s, times.epoch + times.seconds.max() * u.s


def _run(options: argparse.Namespace, reference: Any) -> int:
    _check_outputs(options)
    result = _where_it_is(sunalign.align(options.target, reference, **_keywords(options)), options)
    print(result.summary())
    _write(options, result)
    return GOOD if result.success else DOUBTFUL


def _where_it_is(result: AlignmentResult, options: argparse.Namespace) -> AlignmentResult:
    """Result that says where the command leaves the pointing of the columns."""
    key = "pointing of the columns is"
    if key not in result.assumptions:
        return result
    paths = [str(path) for path in (options.output, options.pointing) if path is not None]
    where = f"in {' and '.join(paths)}" if paths else "not kept: give -o or --pointing"
    return replace(result, assumptions={**result.assumptions, key: where})


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `sunalign.align`; what was not given is left to its defaults."""
    named = {
        "fit": options.fit,
        "max_shift": options.max_shift,
        "bounds": dict(options.bounds) or None,
        "optimizer": options.optimizer,
        "metric": options.metric,
        "reference_builder": options.reference_builder,
        "scaling": options.scaling,
        "n_jobs": options.n_jobs,
        "rng": options.rng,
        "on_doubt": "ignore",  # The summary and the exit code say it.
        "progress": not options.no_progress and sys.stderr.isatty(),
    }
    loose: Mapping[str, Any] = dict(options.settings)
    twice = sorted({*named} & {*loose})
    if twice:
        raise UsageError(f"{', '.join(twice)} cannot be given by --set; see 'sunalign align --help'.")
    return {key: value for key, value in named.items() if value is not None} | dict(loose)


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse before an hour of computation what would be refused after it."""
    from matplotlib.backend_bases import FigureCanvasBase

    from sunalign.files.io import check_output
    from sunalign.visualization.report import json_path

    paths = {
        "-o": options.output,
        "--plot": options.plot,
        "--pointing": options.pointing,
        "--json": options.json,
        "--report": options.report,
    }
    given = {option: path for option, path in paths.items() if path is not None}
    if options.report is not None:
        if options.report.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"--report is a page such as report.html; got {options.report}.")
        if _same(json_path(options.report), options.json):
            # The JSON beside the page is what --json would write.
            options.json = None
            del given["--json"]
        given["the JSON of --report"] = json_path(options.report)
    # A reference is never replaced; the target is by its corrected copy, if that is asked for.
    seen: dict[str, str] = {os.path.realpath(path): "REFERENCE" for path in getattr(options, "reference", ())}
    if not options.overwrite:
        seen[os.path.realpath(options.target)] = "TARGET"
    for option, path in given.items():
        check_output(Path(os.path.realpath(path)), options.overwrite)
        if (other := seen.setdefault(os.path.realpath(path), option)) != option:
            raise UsageError(f"{option} and {other} are the same file {path}.")
    if "drift" not in options.fit and (options.pointing is not None or options.lookup is not None):
        raise UsageError("--pointing and --lookup write what --fit …,drift finds; add drift to --fit.")
    if options.lookup is not None and options.output is None:
        raise UsageError("--lookup says how the pointing is written into OUT; add -o OUT.")
    if options.pointing is not None and options.pointing.suffix.lower() not in _TABLES:
        raise UsageError(f"--pointing is a table such as out.ecsv ({', '.join(_TABLES)}); got {options.pointing}.")
    if options.plot is not None:
        kinds = FigureCanvasBase.get_supported_filetypes()
        if options.plot.suffix[1:].lower() not in kinds:
            listed = ", ".join(sorted(kinds))
            raise UsageError(f"--plot is a figure such as before_after.png ({listed}); got {options.plot}.")


def _same(one: Path, other: Path | None) -> bool:
    return other is not None and os.path.realpath(one) == os.path.realpath(other)


def _write(options: argparse.Namespace, result: AlignmentResult) -> None:
    from sunalign.files.io import apply_to_file, atomic_write, save_correction
    from sunalign.visualization.axes import off_screen

    overwrite: bool = options.overwrite
    if options.output is not None:
        apply_to_file(
            options.target,
            result.correction,
            options.output,
            overwrite=overwrite,
            provenance=result.provenance(),
            pointing=result.found_pointing,
            lookup=options.lookup,
            hdus=options.hdus,
            tolerance=options.tolerance,
        )
        print(f"Wrote {options.output}")
    if options.pointing is not None and result.pointing is not None:
        with atomic_write(options.pointing, overwrite) as temporary:
            result.pointing.write(temporary, format=_TABLES[options.pointing.suffix.lower()], overwrite=True)
        print(f"Wrote {options.pointing}")
    if options.json is not None:
        save_correction(options.json, result.correction, result.to_dict(), overwrite=overwrite)
        print(f"Wrote {options.json}")
    if options.plot is not None:
        with off_screen(), atomic_write(options.plot, overwrite) as temporary:
            result.plot().savefig(temporary, dpi=150)
        print(f"Wrote {options.plot}")
    if options.report is not None:
        result.report(options.report, overwrite=overwrite)
        print(f"Wrote {options.report}")


def _apply(options: argparse.Namespace) -> int:
    from sunalign.files.io import apply_to_file, load_correction
    from sunalign.pointing import load_pointing

    correction, pointing = load_correction(options.correction), load_pointing(options.correction)
    source = f"sunalign correction from {options.correction.name}"

    def write(path: Path, output: Path, overwrite: bool) -> None:
        apply_to_file(
            path,
            correction,
            output,
            overwrite=overwrite,
            provenance=source,
            hdus=options.hdus,
            tolerance=options.tolerance,
            pointing=pointing,
        )

    return _each(options, write)


def _undo(options: argparse.Namespace) -> int:
    from sunalign.files.io import undo_file

    def write(path: Path, output: Path, overwrite: bool) -> None:
        undo_file(path, output, overwrite=overwrite)

    return _each(options, write)


def _each(options: argparse.Namespace, write: Callable[[Path, Path, bool], Any]) -> int:
    """Do it to every file; one that fails is named and does not keep the others from it."""
    if options.output is not None and len(options.files) > 1:
        raise UsageError("-o names one file; use --suffix for several.")
    if options.suffix == "":
        raise UsageError("--suffix is not empty; use --in-place to replace the files.")
    failed = False
    for path in options.files:
        output = path if options.in_place else options.output or _with_suffix(path, options.suffix)
        try:
            write(path, output, options.overwrite or options.in_place)
        except (ValueError, OSError) as error:
            if options.debug:
                raise
            failed = True
            print(f"sunalign: error: {_words(error)}", file=sys.stderr)
        else:
            print(f"Wrote {output}")
    return ERROR if failed else GOOD


def _with_suffix(path: Path, suffix: str) -> Path:
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}{suffix}{ending}")


def _plugins(options: argparse.Namespace) -> int:
    from sunalign.registry import installed

    rows = [(p["kind"], p["name"], f"{p['distribution']} {p['version']}".strip(), p["target"]) for p in installed()]
    widths = [max(len(row[k]) for row in rows) for k in range(3)] if rows else []
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]))
    return GOOD


def _demo(options: argparse.Namespace) -> int:
    from sunalign.demo import run_demo

    if options.archive:
        from sunalign.archive.demo import run_archive_demo

        run_archive_demo(options.out, seed=options.seed, overwrite=options.overwrite)
        return GOOD  # That one is doubtful and one broken is what it shows.
    result = run_demo(options.out, seed=options.seed, overwrite=options.overwrite)
    return GOOD if result.success else DOUBTFUL
