"""Corrections in files: FITS headers that can be restored, JSON, and output that is whole or not there.

A FITS file is handled as blocks of 2880 bytes: what is not a WCS keyword of the image is copied as it is, compressed
images and tables included. The cards that change are kept in a record, ``SUNALN1`` for the first correction and so on,
from which `undo_file` restores the headers byte by byte.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import secrets
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits

from sunalign.correction import Correction
from sunalign.correctors._refit import SkyPart, history_entry, plain_values, refit, sample_pixels
from sunalign.exceptions import CorrectionError, ImageError, warn_user

__all__ = ["apply_to_file", "atomic_write", "load_correction", "save_correction", "undo_file"]

_BLOCK = 2880
_CARD = 80
_CHUNK = 400 * _BLOCK

#: Record of one correction; the number is the step. Eight characters with up to two digits.
_RECORD = "SUNALN"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes ``path`` in one step, on failure nothing is left.

    Parameters
    ----------
    path : path
        Where the output goes. A symbolic link is followed.
    overwrite : `bool`
        Whether an existing file may be replaced.

    Yields
    ------
    `pathlib.Path`
        An empty file beside ``path`` with the same suffix, so that a writer that goes by the suffix does the same.

    Raises
    ------
    FileExistsError
        ``path`` exists and ``overwrite`` is False; checked before and after the work.
    FileNotFoundError
        Its directory does not exist.
    """
    final = Path(os.path.realpath(path))
    _check_output(final, overwrite)
    temporary = final.with_name(f".{_stem(final)[:40]}.{secrets.token_hex(6)}{_suffix(final)}")
    # 'x' and not mkstemp: the file gets the permissions any new file gets.
    with temporary.open("xb"):
        pass
    try:
        if final.exists():
            temporary.chmod(final.stat().st_mode & 0o777)
        yield temporary
        _sync(temporary)
        _publish(temporary, final, overwrite)
        _sync(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _check_output(final: Path, overwrite: bool) -> None:
    if final.is_dir():
        raise IsADirectoryError(f"{final} is a directory; give the name of a file in it.")
    if not final.parent.is_dir():
        raise FileNotFoundError(f"There is no directory {final.parent} to write {final.name} to; create it first.")
    if final.exists() and not overwrite:
        raise FileExistsError(_exists(final))


def _exists(final: Path) -> str:
    return f"The output {final} exists; choose another name, or pass overwrite=True to replace it."


def _publish(temporary: Path, final: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(final)
        return
    try:
        # Unlike a rename, a link never replaces what another process has written meanwhile.
        os.link(temporary, final)
    except FileExistsError:
        raise FileExistsError(_exists(final)) from None
    except OSError:  # a file system without links
        _check_output(final, overwrite)
        temporary.replace(final)


def _sync(path: Path) -> None:
    # Some file systems cannot sync a directory; the file is written all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _suffix(path: Path) -> str:
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def _stem(path: Path) -> str:
    return path.name.removesuffix(_suffix(path))


def aligned_path(path: str | os.PathLike[str]) -> Path:
    """Name of the corrected copy of a file: ``raster.fits`` gives ``raster_aligned.fits``."""
    path = Path(path)
    return path.with_name(f"{_stem(path)}_aligned{_suffix(path)}")


def save_correction(
    path: str | os.PathLike[str],
    correction: Correction,
    extra: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a correction as JSON.

    Parameters
    ----------
    path : path
        The file to write; it is whole or not there.
    correction : `~sunalign.Correction`
        What to write.
    extra : mapping, optional
        Anything worth keeping with it; Quantities, arrays, times and paths are turned into plain values.
    overwrite : `bool`
        Whether an existing file may be replaced.

    Returns
    -------
    `pathlib.Path`
    """
    document = {
        "format": "sunalign correction",
        "version": 1,
        "correction": _plain(correction.to_dict()),
        "extra": _plain(dict(extra or {})),
    }
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return Path(path)


def load_correction(path: str | os.PathLike[str]) -> Correction:
    """Read what `save_correction` wrote."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path} to read a correction from.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are both
        raise CorrectionError(f"{path} is not JSON ({error}); a correction is saved by save_correction().") from error
    if not isinstance(document, dict) or document.get("format") != "sunalign correction":
        raise CorrectionError(f"{path} holds no correction; one is saved by save_correction().")
    if document.get("version") != 1:
        raise CorrectionError(
            f"{path} was written by a newer version of sunalign (format {document.get('version')}); upgrade to read it."
        )
    values = dict(document["correction"])
    values["errors"] = {k: np.nan if v is None else v for k, v in values.get("errors", {}).items()}
    return Correction.from_dict(values)


def _plain(value: Any) -> Any:
    """Value as JSON has it: not finite is null."""
    if isinstance(value, u.Quantity):
        return {"value": _plain(value.value), "unit": str(value.unit)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)


@dataclass(frozen=True, eq=False)
class _HDU:
    """One header, as 80-character cards without END, and where its data are in the uncompressed file."""

    number: int
    cards: tuple[str, ...]
    offset: int
    size: int

    @cached_property
    def header(self) -> fits.Header:
        return fits.Header.fromstring("".join(self.cards))

    @property
    def padded(self) -> int:
        return -(-self.size // _BLOCK) * _BLOCK

    @property
    def label(self) -> str:
        name = str(self.header.get("EXTNAME", "")).strip()
        return f"{self.number} ('{name}')" if name else str(self.number)

    @property
    def is_image(self) -> bool:
        kind = str(self.header.get("XTENSION", "IMAGE")).strip()
        return kind == "IMAGE" or (kind == "BINTABLE" and self.header.get("ZIMAGE") is True)

    @cached_property
    def sky(self) -> SkyPart | None:
        """Celestial coordinates, where it is an image that has them."""
        if not self.is_image:
            return None
        try:
            return SkyPart.from_header(self.header)
        except (CorrectionError, ValueError):
            return None

    @property
    def shape(self) -> tuple[int, ...]:
        """Array shape; empty where there are no data."""
        z = "Z" if self.header.get("ZIMAGE") is True else ""
        n = int(self.header.get(f"{z}NAXIS", 0))
        return tuple(int(self.header[f"{z}NAXIS{i}"]) for i in range(n, 0, -1))

    def header_bytes(self) -> bytes:
        text = "".join([*self.cards, "END".ljust(_CARD)])
        return text.ljust(-(-len(text) // _BLOCK) * _BLOCK).encode("latin-1")


def apply_to_file(
    path: str | os.PathLike[str],
    correction: Correction,
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    provenance: str | Iterable[str] | None = None,
    hdus: str | Sequence[int | str] = "same-pointing",
    hdu: int | str | None = None,
    tolerance: float = 0.1,
) -> Path:
    """Copy a FITS file with a correction written into the headers of its images.

    Data, tables and all other cards are copied byte by byte; DATE and CHECKSUM of the headers that change are renewed
    where they are present. The old cards are kept in the header, and `undo_file` restores them.

    Parameters
    ----------
    path : path
        File to correct; ``.gz`` is understood.
    correction : `~sunalign.Correction`
        What to write.
    output : path
        File to write. It may be ``path`` itself if ``overwrite`` is True.
    overwrite : `bool`
        Whether an existing output may be replaced.
    provenance : `str` or iterable of `str`, optional
        Further lines for HISTORY: plugins and their options, score, reference.
    hdus : ``"same-pointing"``, ``"all"`` or sequence of `int` and `str`
        Which images are corrected: those whose pixels lie where those of ``hdu`` do, to 0.1 pixel; every image with
        celestial coordinates; or those named by number or EXTNAME.
    hdu : `int` or `str`, optional
        Number or EXTNAME of the image the correction was found on; the first with celestial coordinates by default.
    tolerance : `float`
        Largest error of the written coordinates, in pixels.

    Returns
    -------
    `pathlib.Path`
        Of the output.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        No image has celestial coordinates, or they cannot express the correction.
    ~sunalign.exceptions.ImageError
        It is no FITS file, or a truncated one.
    FileExistsError
        The output exists and ``overwrite`` is False.

    Warns
    -----
    ~sunalign.exceptions.SunalignUserWarning
        Images with another pointing were left as they are.
    """
    path, output = Path(path), Path(output)
    _check_output(Path(os.path.realpath(output)), overwrite)
    with _opened(path) as stream:
        found = _scan(stream, path)
        base = _base(found, hdu, path)
        chosen, left = _chosen(found, base, hdus, path)
        step = 1 + max((_last_step(item) for item in found), default=0)
        lines = history_entry(correction, provenance).splitlines()
        lines.append(f"sunalign keeps the cards as they were in {_RECORD}{step}")
        new = [_corrected(item, correction, base, lines, step, tolerance) if item in chosen else item for item in found]
        _write(stream, found, new, path, output, overwrite)
    if left:
        warn_user(
            f"{path.name}: HDU {', '.join(item.label for item in left)} point elsewhere than HDU {base.label} and were "
            f"left as they are; pass hdus='all' to correct them too.",
            stacklevel=2,
        )
    return output


def undo_file(
    path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, *, overwrite: bool = False
) -> Path:
    """Take back the last correction that `apply_to_file` wrote into a file: the headers are restored byte by byte.

    Parameters
    ----------
    path : path
        A corrected file. One that was corrected twice is undone step by step.
    output : path, optional
        File to write; ``path`` itself by default, which ``overwrite`` must allow.
    overwrite : `bool`
        Whether an existing output may be replaced.

    Returns
    -------
    `pathlib.Path`
        Of the output.
    """
    path = Path(path)
    output = path if output is None else Path(output)
    with _opened(path) as stream:
        found = _scan(stream, path)
        step = max((_last_step(item) for item in found), default=0)
        if step == 0:
            raise CorrectionError(
                f"{path} has no correction to undo: none of its headers has a record ({_RECORD}1) as apply_to_file() "
                f"writes it."
            )
        new = [_restored(item, step, path) if _last_step(item) == step else item for item in found]
        _write(stream, found, new, path, output, overwrite)
    return output


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    if not path.exists():
        raise ImageError(f"There is no file {path}.")
    if path.is_dir():
        raise ImageError(f"{path} is a directory; give one FITS file of it.")
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        yield stream


def _scan(stream: BufferedIOBase, path: Path) -> list[_HDU]:
    """Headers of a file in order. What follows the last HDU (special records) is not listed, but copied."""
    found: list[_HDU] = []
    offset = 0
    while True:
        stream.seek(offset)
        cards = _read_cards(stream, b"XTENSION" if found else b"SIMPLE  ", path)
        if cards is None:
            break
        hdu = _HDU(len(found), cards, offset + _BLOCK * -(-(len(cards) + 1) * _CARD // _BLOCK), 0)
        hdu = replace(hdu, size=_data_size(hdu.header))
        found.append(hdu)
        offset = hdu.offset + hdu.padded
    if not found:
        raise ImageError(f"{path} is not a FITS file: it does not begin with SIMPLE.")
    return found


def _read_cards(stream: BufferedIOBase, begins: bytes, path: Path) -> tuple[str, ...] | None:
    cards: list[str] = []
    while True:
        block = stream.read(_BLOCK)
        if not cards and not block.startswith(begins):
            return None
        if len(block) < _BLOCK:
            raise ImageError(f"{path} is truncated inside a header; fetch it again.")
        text = block.decode("latin-1")
        for start in range(0, _BLOCK, _CARD):
            card = text[start : start + _CARD]
            if card.rstrip() == "END":
                return tuple(cards)
            cards.append(card)


def _data_size(header: fits.Header) -> int:
    axes = [int(header[f"NAXIS{i}"]) for i in range(1, int(header.get("NAXIS", 0)) + 1)]
    if not axes:
        return 0
    if axes[0] == 0 and header.get("GROUPS") is True:
        axes = axes[1:]
    pixels = int(np.prod(axes, dtype=object))
    return abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + pixels)


def _base(found: Sequence[_HDU], hdu: int | str | None, path: Path) -> _HDU:
    if hdu is not None:
        base = _named(found, hdu, path)
        if base.sky is None:
            raise CorrectionError(f"HDU {base.label} of {path} is no image with celestial coordinates.")
        return base
    images = [item for item in found if item.sky is not None]
    if not images:
        raise CorrectionError(
            f"{path} has no image to correct: none of its {len(found)} HDUs has one longitude and one latitude axis "
            f"such as HPLN-TAN and HPLT-TAN."
        )
    return next((item for item in images if item.shape), images[0])


def _named(found: Sequence[_HDU], name: int | str, path: Path) -> _HDU:
    for item in found:
        if name in (item.number, str(item.header.get("EXTNAME", "")).strip()):
            return item
    raise CorrectionError(f"{path} has no HDU {name!r}; it has {', '.join(item.label for item in found)}.")


def _chosen(
    found: Sequence[_HDU], base: _HDU, hdus: str | Sequence[int | str], path: Path
) -> tuple[list[_HDU], list[_HDU]]:
    """Images to correct, and images left alone because they point elsewhere."""
    images = [item for item in found if item.sky is not None]
    if hdus == "all":
        return images, []
    if hdus == "same-pointing":
        same = [item for item in images if item is base or _same_pointing(base, item)]
        return same, [item for item in images if item not in same]
    if isinstance(hdus, str):
        hdus = (hdus,)
    chosen = [_named(found, name, path) for name in hdus]
    for item in chosen:
        if item.sky is None:
            raise CorrectionError(f"HDU {item.label} of {path} is no image with celestial coordinates.")
    return chosen, []


def _same_pointing(base: _HDU, other: _HDU) -> bool:
    one, two = base.sky, other.sky
    assert one is not None
    assert two is not None
    corners = sample_pixels(one, _shape(base, base), count=2)
    theirs = np.zeros((two.rows.shape[1], corners.shape[1]))
    theirs[list(two.axes)] = corners[list(one.axes)]
    difference = one.from_sky(two.to_sky(two.to_plane(theirs))) - one.to_plane(corners)
    return bool((one.in_pixels(difference) < 0.1).all())


def _shape(hdu: _HDU, base: _HDU) -> tuple[int, ...]:
    """Array shape; where the data are elsewhere, one centred on CRPIX, which only says where the fit is checked."""
    if hdu.shape or base.shape:
        return hdu.shape or base.shape
    assert hdu.sky is not None
    return tuple(max(1, round(2 * c + 1)) for c in hdu.sky.crpix[::-1])


def _corrected(
    hdu: _HDU, correction: Correction, base: _HDU, lines: Sequence[str], step: int, tolerance: float
) -> _HDU:
    try:
        changes, _ = refit(hdu.header, correction, _shape(hdu, base), tolerance)
    except CorrectionError as error:
        raise CorrectionError(f"HDU {hdu.label}: {error}") from error
    cards = list(hdu.cards)
    keywords = [_keyword(card) for card in cards]
    replaced: dict[str, str] = {}
    added: list[str] = []
    for key, value in changes.items():
        if key in keywords:
            index = keywords.index(key)
            replaced[key] = cards[index].rstrip()
            cards[index] = _number_card(key, value, cards[index])
        else:
            added.append(key)
    for key, image in _dated(cards).items():
        replaced[key] = cards[keywords.index(key)].rstrip()
        cards[keywords.index(key)] = image
    place = 1 + max(i for i, key in enumerate(keywords) if key in plain_values(hdu.header))
    cards[place:place] = [_number_card(key, changes[key]) for key in added]
    history = [str(card) for line in lines for card in _history_cards(line)]
    record = json.dumps({"replaced": replaced, "added": added, "history": len(history)}, separators=(",", ":"))
    end = len(cards)
    while end > place + len(added) and not cards[end - 1].strip():
        end -= 1  # before any blank cards kept free at the end
    cards[end:end] = [*history, *_long_string(f"{_RECORD}{step}", record)]
    return replace(hdu, cards=tuple(cards))


def _restored(hdu: _HDU, step: int, path: Path) -> _HDU:
    cards = list(hdu.cards)
    start, stop, record = _record(cards, f"{_RECORD}{step}", path)
    history = int(record["history"])
    if any(_keyword(card) != "HISTORY" for card in cards[start - history : start]):
        raise CorrectionError(
            f"HDU {hdu.label} of {path} was edited after its correction: the HISTORY before {_RECORD}{step} is not as "
            f"it was written. Restore the file from the original."
        )
    del cards[start - history : stop]
    for key in record["added"]:
        del cards[_index(cards, key, hdu, path)]
    for key, image in record["replaced"].items():
        cards[_index(cards, key, hdu, path)] = image.ljust(_CARD)
    return replace(hdu, cards=tuple(cards))


def _index(cards: Sequence[str], key: str, hdu: _HDU, path: Path) -> int:
    for index, card in enumerate(cards):
        if _keyword(card) == key:
            return index
    raise CorrectionError(
        f"HDU {hdu.label} of {path} was edited after its correction: {key} is gone. Restore the file from the original."
    )


def _record(cards: Sequence[str], key: str, path: Path) -> tuple[int, int, dict[str, Any]]:
    """First and last-plus-one card of a record, and what it says."""
    start = next(i for i, card in enumerate(cards) if _keyword(card) == key)
    stop = start + 1
    while stop < len(cards) and _keyword(cards[stop]) == "CONTINUE":
        stop += 1
    try:
        record = json.loads(str(fits.Card.fromstring("".join(cards[start:stop])).value))
        return start, stop, {name: record[name] for name in ("replaced", "added", "history")}
    except (ValueError, KeyError, TypeError) as error:
        raise CorrectionError(f"The record {key} in {path} is damaged; restore the file from the original.") from error


def _last_step(hdu: _HDU) -> int:
    steps = [_keyword(card).removeprefix(_RECORD) for card in hdu.cards if card.startswith(_RECORD)]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def _keyword(card: str) -> str:
    return card[:8].rstrip()


def _number_card(key: str, value: float, old: str | None = None) -> str:
    """Card of a floating-point value with every digit it needs, keeping the old comment as far as it fits."""
    image = f"{key:8}= {repr(float(value)).upper():>20}"
    comment = str(fits.Card.fromstring(old).comment) if old else ""
    return (f"{image} / {comment}" if comment else image)[:_CARD].ljust(_CARD)


def _dated(cards: Sequence[str]) -> dict[str, str]:
    """New DATE and an empty CHECKSUM, where they are present. DATASUM stays: the data do."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    images = {
        "DATE": f"DATE    = '{now}' / date this HDU was corrected",
        "CHECKSUM": f"CHECKSUM= '{'0' * 16}'   / HDU checksum updated {now}",
    }
    present = {_keyword(card) for card in cards}
    return {key: image.ljust(_CARD) for key, image in images.items() if key in present}


def _history_cards(line: str) -> list[str]:
    return [f"HISTORY {part}".ljust(_CARD) for part in textwrap.wrap(line, _CARD - 8) or [""]]


def _long_string(key: str, text: str) -> list[str]:
    # Quotes and ampersands have a meaning in long FITS strings that not every reader gets right; JSON can spell them.
    image = str(fits.Card(key, text.replace("'", "\\u0027").replace("&", "\\u0026")))
    return [image[i : i + _CARD] for i in range(0, len(image), _CARD)]


def _write(
    stream: BufferedIOBase, old: Sequence[_HDU], new: Sequence[_HDU], path: Path, output: Path, overwrite: bool
) -> None:
    with atomic_write(output, overwrite) as temporary, _packed(temporary) as out:
        for before, after in zip(old, new, strict=True):
            out.write(_summed(after, stream) if after is not before else before.header_bytes())
            stream.seek(before.offset)
            if _copy(stream, out, before.padded) < before.size:
                raise ImageError(f"{path} is truncated inside the data of HDU {before.label}; fetch it again.")
        _copy(stream, out, None)


@contextlib.contextmanager
def _packed(path: Path) -> Iterator[BufferedIOBase]:
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            # No name and no time inside, so that equal input gives equal output.
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                yield packed
        else:
            yield raw


def _copy(stream: BufferedIOBase, out: BufferedIOBase, length: int | None) -> int:
    """Copy ``length`` bytes, or all there are; return how many."""
    done = 0
    while length is None or done < length:
        block = stream.read(_CHUNK if length is None else min(_CHUNK, length - done))
        if not block:
            break
        out.write(block)
        done += len(block)
    return done


def _summed(hdu: _HDU, stream: BufferedIOBase) -> bytes:
    """Header with a CHECKSUM that is right, where it has one that is empty."""
    header = hdu.header_bytes()
    empty = b"CHECKSUM= '" + b"0" * 16
    if empty not in header:
        return header
    total = _add(0, header)
    stream.seek(hdu.offset)
    left = hdu.padded
    while left > 0 and (block := stream.read(min(_CHUNK, left))):
        total = _add(total, block.ljust(-(-len(block) // 4) * 4, b"\0"))
        left -= len(block)
    return header.replace(empty, b"CHECKSUM= '" + _encoded(total), 1)


def _add(total: int, block: bytes) -> int:
    """Ones' complement sum of 32-bit words (FITS standard 4.0, appendix J)."""
    total += int(np.frombuffer(block, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _encoded(total: int) -> bytes:
    """ASCII form of the complement of a sum (FITS standard 4.0, appendix J)."""
    punctuation = {*range(0x3A, 0x41), *range(0x5B, 0x61)}
    text = bytearray(16)
    for i, byte in enumerate((0xFFFFFFFF ^ total).to_bytes(4, "big")):
        quarter, rest = divmod(byte, 4)
        four = [quarter + rest + 0x30, *[quarter + 0x30] * 3]
        while punctuation & set(four):
            for j in (0, 2):
                if punctuation & set(four[j : j + 2]):
                    four[j] += 1
                    four[j + 1] -= 1
        text[i::4] = bytes(four)
    return bytes(text[-1:] + text[:-1])
