"""FITS headers that change, and the record in them from which they are restored byte by byte."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astropy.io import fits

from sunalign.exceptions import CorrectionError
from sunalign.files.fits_blocks import CARD, HDU
from sunalign.wcs.header import plain_values

__all__ = ["RECORD", "last_step", "with_changes", "without_changes"]

#: Record of one correction; the number is the step. Eight characters with up to two digits.
RECORD = "SUNALN"


def with_changes(
    hdu: HDU,
    changes: Mapping[str, float],
    lines: Sequence[str],
    step: int,
    *,
    inserted: Sequence[str] = (),
    swapped: Sequence[tuple[str, str]] = (),
) -> HDU:
    """Header with other numbers, lines of HISTORY, and a record of what was there before.

    Parameters
    ----------
    hdu : `~sunalign._fits_blocks.HDU`
    changes : mapping
        Numbers by keyword.
    lines : sequence of `str`
        For HISTORY.
    step : `int`
        Number of the correction.
    inserted, swapped : sequence
        Whole cards to put in, and pairs of cards (as it is, as it shall be): for keywords that occur more than once.
    """
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
    for before, after in swapped:
        cards[cards.index(before)] = after
    known = plain_values(hdu.header)
    start = 1 + max(i for i, key in enumerate(keywords) if key in known)
    new = [*(_number_card(key, changes[key]) for key in added), *inserted]
    cards[start:start] = new
    history = [card for line in lines for card in _history_cards(line)]
    record: dict[str, Any] = {"replaced": replaced, "added": added, "history": len(history)}
    if inserted:
        record["inserted"] = [card.rstrip() for card in inserted]
    if swapped:
        record["swapped"] = [[before.rstrip(), after.rstrip()] for before, after in swapped]
    text = json.dumps(record, separators=(",", ":"))
    end = len(cards)
    while end > start + len(new) and not cards[end - 1].strip():
        end -= 1  # before any blank cards kept free at the end
    cards[end:end] = [*history, *_long_string(f"{RECORD}{step}", text)]
    return replace(hdu, cards=tuple(cards))


def without_changes(hdu: HDU, step: int, path: Path) -> HDU:
    """Header as it was before a step.

    Parameters
    ----------
    hdu : `~sunalign.files.fits_blocks.HDU`
    step : `int`
        Number of the correction to be taken back, which has to be the last one.
    path : `~pathlib.Path`
        Of the file, for errors.
    """
    cards = list(hdu.cards)
    start, stop, record = _record(cards, f"{RECORD}{step}", path)
    history = int(record["history"])
    if any(_keyword(card) != "HISTORY" for card in cards[start - history : start]):
        raise CorrectionError(
            f"HDU {hdu.label} of {path} was edited after its correction: the HISTORY before {RECORD}{step} is not as "
            f"it was written. Restore the file from the original."
        )
    del cards[start - history : stop]
    for image in record.get("inserted", ()):
        del cards[_index(cards, image, hdu, path, whole=True)]
    for before, after in record.get("swapped", ()):
        cards[_index(cards, after, hdu, path, whole=True)] = before.ljust(CARD)
    for key in record["added"]:
        del cards[_index(cards, key, hdu, path)]
    for key, image in record["replaced"].items():
        cards[_index(cards, key, hdu, path)] = image.ljust(CARD)
    return replace(hdu, cards=tuple(cards))


def _index(cards: Sequence[str], key: str, hdu: HDU, path: Path, *, whole: bool = False) -> int:
    """Where a keyword, or a whole card, is."""
    for index, card in enumerate(cards):
        if (card.rstrip() if whole else _keyword(card)) == key:
            return index
    raise CorrectionError(
        f"HDU {hdu.label} of {path} was edited after its correction: {key[:8].rstrip()} is gone. Restore the file from "
        f"the original."
    )


def _record(cards: Sequence[str], key: str, path: Path) -> tuple[int, int, dict[str, Any]]:
    """First and last-plus-one card of a record, and what it says."""
    start = next(i for i, card in enumerate(cards) if _keyword(card) == key)
    stop = start + 1
    while stop < len(cards) and _keyword(cards[stop]) == "CONTINUE":
        stop += 1
    try:
        record = json.loads(str(fits.Card.fromstring("".join(cards[start:stop])).value))
        return start, stop, record | {name: record[name] for name in ("replaced", "added", "history")}
    except (ValueError, KeyError, TypeError) as error:
        raise CorrectionError(f"The record {key} in {path} is damaged; restore the file from the original.") from error


def last_step(hdu: HDU) -> int:
    """Number of the last correction of a header; 0 where there is none.

    Parameters
    ----------
    hdu : `~sunalign.files.fits_blocks.HDU`
        Corrected any number of times.
    """
    steps = [_keyword(card).removeprefix(RECORD) for card in hdu.cards if card.startswith(RECORD)]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def _keyword(card: str) -> str:
    return card[:8].rstrip()


def _number_card(key: str, value: float, old: str | None = None) -> str:
    """Card of a floating-point value with every digit it needs, keeping the old comment as far as it fits."""
    image = f"{key:8}= {repr(float(value)).upper():>20}"
    comment = str(fits.Card.fromstring(old).comment) if old else ""
    return (f"{image} / {comment}" if comment else image)[:CARD].ljust(CARD)


def _dated(cards: Sequence[str]) -> dict[str, str]:
    """New DATE and an empty CHECKSUM, where they are present. DATASUM stays: the data do."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    images = {
        "DATE": f"DATE    = '{now}' / date this HDU was corrected",
        "CHECKSUM": f"CHECKSUM= '{'0' * 16}'   / HDU checksum updated {now}",
    }
    present = {_keyword(card) for card in cards}
    return {key: image.ljust(CARD) for key, image in images.items() if key in present}


def _history_cards(line: str) -> list[str]:
    return [f"HISTORY {part}".ljust(CARD) for part in textwrap.wrap(line, CARD - 8) or [""]]


def _long_string(key: str, text: str) -> list[str]:
    # Quotes and ampersands have a meaning in long FITS strings that not every reader gets right; JSON can spell them.
    image = str(fits.Card(key, text.replace("'", "\\u0027").replace("&", "\\u0026")))
    return [image[i : i + CARD] for i in range(0, len(image), CARD)]
