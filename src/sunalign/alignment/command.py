"""``sunalign align`` and ``sunalign raster``: the command line of one alignment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u

from sunalign._command_line import (
    DOUBTFUL,
    GOOD,
    UsageError,
    add_plugin_options,
    keywords_of,
    read_angle,
    read_bounds,
    read_duration,
    read_names,
)
from sunalign.files.command import add_windows, check_page, check_paths, same_path

if TYPE_CHECKING:
    from astropy.time import Time

    from sunalign.images import Image
    from sunalign.result import AlignmentResult

__all__ = ["add_align", "add_raster"]

#: Tables that can be written, by suffix, and what astropy calls them.
_TABLES = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits"}


def add_align(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Define ``sunalign align``.

    Parameters
    ----------
    command : callable
        ``command(name, run, help)`` makes its parser.
    """
    parser = command("align", _align, "align an image or raster with a reference whose pointing is trusted")
    parser.add_argument(
        "target",
        type=Path,
        metavar="TARGET",
        help="FITS file to be corrected; kept, unless -o names it too",
    )
    parser.add_argument("reference", type=Path, nargs="+", metavar="REFERENCE", help="FITS files that can be trusted")
    parser.add_argument("--reference-builder", metavar="NAME", help="how the reference is made of them")
    _add_search(parser)
    _add_output(parser)


def add_raster(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Define ``sunalign raster``.

    Parameters
    ----------
    command : callable
        ``command(name, run, help)`` makes its parser.
    """
    parser = command("raster", _raster, "align a raster with the images that a directory holds for its time")
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
    _add_output(parser)


def _add_search(parser: argparse.ArgumentParser) -> None:
    search = parser.add_argument_group("search")
    search.add_argument("--fit", default="shift", metavar="LIST", type=read_names,
                        help="what is free, such as shift,scale,drift or shift_x (default: shift)")  # fmt: skip
    search.add_argument("--max-shift", type=read_angle, metavar="ANGLE", help="largest shift (default: 120arcsec)")
    search.add_argument("--bounds", type=read_bounds, nargs="+", action="extend", default=[], metavar="NAME=LOW,HIGH",
                        help="such as scale_x=0.9,1.1 or rotation=-1deg,1deg")  # fmt: skip
    add_plugin_options(search)
    search.add_argument("--rng", type=int, metavar="SEED", help="for optimizers that draw")


def _add_output(parser: argparse.ArgumentParser) -> None:
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
    add_windows(output)


def _align(options: argparse.Namespace) -> int:
    _check_instruments(options.target, options.reference)
    return _run(options, options.reference if len(options.reference) > 1 else options.reference[0])


def _check_instruments(target: Path, references: Sequence[Path]) -> None:
    """Refuse references of several instruments where one is the target's: it may be meant as another target."""
    if any(same_path(path, target) for path in references):
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
        dates = image.dates
        raise ImageError(f"{image.name} {dates.undated} and no time axis, so it is at no time; {dates.remedy}.")
    return times.epoch + times.seconds.min() * u.s, times.epoch + times.seconds.max() * u.s


def _run(options: argparse.Namespace, reference: Any) -> int:
    from sunalign.alignment.align import align

    _check_outputs(options)
    result = _where_it_is(align(options.target, reference, **_keywords(options)), options)
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
    names = ("fit", "max_shift", "optimizer", "metric", "reference_builder", "scaling", "n_jobs", "rng")
    return keywords_of(options, names, bounds=dict(options.bounds) or None)


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse before an hour of computation what would be refused after it."""
    beside = check_page(options.report)
    if beside is not None and same_path(beside, options.json):
        options.json = None  # The JSON beside the page is what --json would write.
    outputs = {
        "-o": options.output,
        "--plot": options.plot,
        "--pointing": options.pointing,
        "--json": options.json,
        "--report": options.report,
        "the JSON of --report": beside,
    }
    # A reference is never replaced; the target is by its corrected copy, if that is asked for.
    inputs = dict.fromkeys(getattr(options, "reference", ()), "REFERENCE")
    if not options.overwrite:
        inputs[options.target] = "TARGET"
    check_paths(outputs, inputs, options.overwrite)
    _check_pointing(options)
    if options.plot is not None:
        _check_figure(options.plot)


def _check_pointing(options: argparse.Namespace) -> None:
    if "drift" not in options.fit and (options.pointing is not None or options.lookup is not None):
        raise UsageError("--pointing and --lookup write what --fit …,drift finds; add drift to --fit.")
    if options.lookup is not None and options.output is None:
        raise UsageError("--lookup says how the pointing is written into OUT; add -o OUT.")
    if options.pointing is not None and options.pointing.suffix.lower() not in _TABLES:
        raise UsageError(f"--pointing is a table such as out.ecsv ({', '.join(_TABLES)}); got {options.pointing}.")


def _check_figure(path: Path) -> None:
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise UsageError(f"--plot is a figure such as before_after.png ({', '.join(sorted(kinds))}); got {path}.")


def _write(options: argparse.Namespace, result: AlignmentResult) -> None:
    from sunalign.files.io import apply_to_file, save_correction
    from sunalign.files.output import atomic_write
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
