"""FITS files as blocks of 2880 bytes: headers as cards, data as bytes that are copied and never read."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from astropy.io import fits

from sunalign.exceptions import CorrectionError, ImageError, describe_error
from sunalign.wcs.fits_plane import no_file
from sunalign.wcs.header import plain_values, sky_axes
from sunalign.wcs.sky_part import SkyPart
from sunalign.wcs.still import has_no_extent, with_extent

__all__ = ["CARD", "HDU", "opened", "scan", "write"]

_BLOCK = 2880
CARD = 80
_CHUNK = 400 * _BLOCK


@dataclass(frozen=True, eq=False)
class HDU:
    """One header, as 80-character cards without END, and where its data are in the uncompressed file.

    Parameters
    ----------
    number : `int`
        Its place in the file, from 0.
    cards : `tuple` of `str`
        80 characters each, as they stand in the file.
    offset : `int`
        Where its data begin, bytes from the beginning of the uncompressed file.
    size : `int`
        Bytes of its data, without padding.
    """

    number: int
    cards: tuple[str, ...]
    offset: int
    size: int

    @cached_property
    def header(self) -> fits.Header:
        """All cards as astropy reads them."""
        return fits.Header.fromstring("".join(self.cards))

    @property
    def padded(self) -> int:
        """Bytes of the data with their padding."""
        return -(-self.size // _BLOCK) * _BLOCK

    @property
    def label(self) -> str:
        """How to speak of it: its number, and its EXTNAME."""
        name = str(self.header.get("EXTNAME", "")).strip()
        return f"{self.number} ('{name}')" if name else str(self.number)

    @property
    def is_image(self) -> bool:
        """Whether it is an image, compressed or not."""
        kind = str(self.header.get("XTENSION", "IMAGE")).strip()
        return kind == "IMAGE" or (kind == "BINTABLE" and self.header.get("ZIMAGE") is True)

    @property
    def sky(self) -> SkyPart | None:
        """Celestial coordinates, where it is an image that has them."""
        return self._sky[0]

    @property
    def fault(self) -> str:
        """Why its celestial axes cannot be used, in a sentence; empty where they can, or there are none."""
        return self._sky[1]

    @cached_property
    def _sky(self) -> tuple[SkyPart | None, str]:
        if not self.is_image or sky_axes(plain_values(self.header)) is None:
            return None, ""
        name = f"HDU {self.label}"
        try:
            return SkyPart.from_header(self.placed, name), ""
        except (CorrectionError, ValueError) as error:
            text = str(error) if isinstance(error, CorrectionError) else f"{describe_error(error)}."
            return None, text if text.startswith(name) else f"{name}: {text}"

    @cached_property
    def placed(self) -> fits.Header:
        """Header that places the image on the sky; a raster axis without extent has one across the slit here."""
        return with_extent(self.header) if has_no_extent(self.header) else self.header

    @property
    def shape(self) -> tuple[int, ...]:
        """Array shape; empty where there are no data."""
        z = "Z" if self.header.get("ZIMAGE") is True else ""
        n = int(self.header.get(f"{z}NAXIS", 0))
        return tuple(int(self.header[f"{z}NAXIS{i}"]) for i in range(n, 0, -1))

    def header_bytes(self) -> bytes:
        """Header as it stands in the file."""
        text = "".join([*self.cards, "END".ljust(CARD)])
        return text.ljust(-(-len(text) // _BLOCK) * _BLOCK).encode("latin-1")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """Give a file to read, unpacked if it is packed by gzip, whatever its name.

    Parameters
    ----------
    path : `~pathlib.Path`
    """
    if not path.exists():
        raise ImageError(no_file(path))
    if path.is_dir():
        raise ImageError(f"{path} is a directory; give one FITS file of it.")
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        yield stream


def scan(stream: BufferedIOBase, path: Path) -> list[HDU]:
    """Headers of a file in order. What follows the last HDU (special records) is not listed, but copied.

    Parameters
    ----------
    stream : file object
        Binary, uncompressed, able to seek.
    path : `~pathlib.Path`
        Of the file, for errors.
    """
    found: list[HDU] = []
    offset = 0
    while True:
        stream.seek(offset)
        cards = _read_cards(stream, b"XTENSION" if found else b"SIMPLE  ", path)
        if cards is None:
            break
        hdu = HDU(len(found), cards, offset + _BLOCK * -(-(len(cards) + 1) * CARD // _BLOCK), 0)
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
        for start in range(0, _BLOCK, CARD):
            card = text[start : start + CARD]
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


def write(
    stream: BufferedIOBase,
    old: Sequence[HDU],
    new: Sequence[HDU | None],
    path: Path,
    temporary: Path,
    appended: bytes = b"",
) -> None:
    """Copy a file with new headers, packed if the name ends in ``.gz``.

    Parameters
    ----------
    stream : file
        The file to copy.
    old, new : sequence of `HDU`
        Its headers, and those to write; one that is the same object is copied as it is, and `None` is left out.
    path : `~pathlib.Path`
        Name of the file to copy, for errors.
    temporary : `~pathlib.Path`
        File to write.
    appended : `bytes`
        Whole HDUs to put after the last one.
    """
    with _packed(temporary) as out:
        for before, after in zip(old, new, strict=True):
            if after is None:
                continue
            out.write(_summed(after, stream) if after is not before else before.header_bytes())
            stream.seek(before.offset)
            if _copy(stream, out, before.padded) < before.size:
                raise ImageError(f"{path} is truncated inside the data of HDU {before.label}; fetch it again.")
        out.write(appended)
        # Wherever the last one copied ended: special records follow after all HDUs.
        stream.seek(old[-1].offset + old[-1].padded)
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


def _summed(hdu: HDU, stream: BufferedIOBase) -> bytes:
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
