"""Lead names as devices, programs and countries write them, mapped to the standard twelve."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.ecg import DISPLAY_NAMES, LEADS, display_name
from utils.errors import DataError, UsageError, nearest
from utils.text import listed, printable

_OTHER = "Lead names were read so"
_MODIFIED = "Modified limb leads (electrodes on the torso; amplitudes and axis differ) were read so"
_INVERTED = "Leads that are named upside down were turned over"
READY = ",".join(DISPLAY_NAMES)  # for --leads
_LONGEST = 60  # characters of a name that can be a lead's
_PREFIX = re.compile(
    r"(?:(?:MDC|ECG|EKG|LEAD|DERIVATION|DERIVACION|DERIVACAO|DERIVAZIONE|ABLEITUNG|CHANNEL|CH)(?![A-Z0-9])"
    r"(?:[ _:.]+|-(?! ))?"
    r"|(?:MDC|ECG|EKG|LEAD)(?=[A-Z0-9]))+"
)
_SUFFIX = re.compile(r"[ _-]*(?:-REF|_REF| REF|\(REF\)|-WCT)$")
# a separator may stand before the number alone: I-II is the difference of two leads
_PARTS = re.compile(r" ?(?:A[ ._-]?V|V|C|D|L|M[ ._-]?L)?[ ._-]*(?:[RLF]|[1-6]|I{1,3})")
_MINUS = "-\u2212\u2013"
_C_NAME = re.compile(r"(?i)\bC[ ._-]?[1-6]\b")
_ACCENTS = str.maketrans("\u00d3\u00c7\u00c3", "OCA")
_ELECTRODES = {"LA-RA": "I", "LL-RA": "II", "LL-LA": "III", "L-R": "I", "F-R": "II", "F-L": "III"}
_ROMAN = {"1": "I", "2": "II", "3": "III"}


@dataclass(frozen=True)
class LeadName:
    """What a channel's name says: the lead, whether it is upside down, and which kind of name it is.

    ``kind``: heading of the note about such names; empty for the standard name.
    """

    lead: str
    inverted: bool = False
    kind: str = ""


def read_name(text: str) -> LeadName | None:
    """Lead that a channel name means; None for a name of anything else."""
    if len(text) > _LONGEST:
        return None
    upper = text.strip().upper().translate(_ACCENTS)
    plain = _PREFIX.sub("", upper, count=1) if _PREFIX.match(upper) else upper
    if plain in LEADS:
        return LeadName(plain)
    pair = re.sub(r"[ _]", "", plain)
    reverse = "-".join(reversed(pair.split("-")))
    if pair in _ELECTRODES or reverse in _ELECTRODES:  # the difference of two electrodes defines a limb lead
        lead, inverted = _ELECTRODES.get(pair) or _ELECTRODES[reverse], pair not in _ELECTRODES
        return LeadName(lead, inverted, _INVERTED if inverted else _OTHER)
    plain = _SUFFIX.sub("", plain)
    inverted = plain[:1] in _MINUS and plain != ""
    parts = _PARTS.fullmatch(plain.lstrip(_MINUS + "+"))
    core = re.sub(r"[ ._-]", "", parts[0]) if parts else ""
    lead, kind = core, _OTHER
    if match := re.fullmatch(r"[DL]?(I{1,3})|D([123])", core):
        lead = match[1] or _ROMAN[match[2]]
    elif match := re.fullmatch(r"C([1-6])", core):
        lead = f"V{match[1]}"
    elif core in ("MLI", "MLII", "MLIII"):
        lead, kind = core[2:], _MODIFIED
    if lead not in LEADS or (inverted and lead not in LEADS[:6]):
        return None
    return LeadName(lead, inverted, _INVERTED if inverted else kind)


def lead_name(text: str) -> str | None:
    """Standard lead that a channel name means, upright."""
    name = read_name(text)
    return None if name is None or name.inverted else name.lead


def map_names(
    source: Path, labels: Sequence[str], names: Sequence[str] | None, notes: list[str]
) -> list[LeadName | None]:
    """Lead of each channel, None for those to ignore."""
    if names is not None:
        return _given(source, labels, names, notes)
    numbers = [_lead_number(label) for label in labels]
    counted = sorted(number for number in numbers if number is not None)
    if counted == list(range(1, 13)):
        notes.append(
            f"Leads are numbered, not named: the order {', '.join(DISPLAY_NAMES)} (PTB-XL's) is assumed."
        )
        return [None if number is None else LeadName(LEADS[number - 1]) for number in numbers]
    mapped = [read_name(label) for label in labels]
    if counted == list(range(12)):
        raise DataError(
            f"{source}: the leads are numbered from 0, but lead1 to lead12 are counted from 1: rename the "
            f"columns, or name them with --leads {READY}"
        )
    if any(mapped):  # Lead 1, 2 and 3 beside names are the limb leads
        mapped = [
            LeadName(_ROMAN[str(number)], kind=_OTHER) if name is None and number in (1, 2, 3) else name
            for name, number in zip(mapped, numbers, strict=True)
        ]
    electrodes = [
        bool(_C_NAME.search(label)) and name is not None for label, name in zip(labels, mapped, strict=True)
    ]
    chest = {name.lead for name, is_c in zip(mapped, electrodes, strict=True) if name and not is_c}
    if 0 < sum(electrodes) != 6 or chest & set(LEADS[6:]):  # C3 and C4 are EEG electrodes, too
        mapped = [None if is_c else name for name, is_c in zip(mapped, electrodes, strict=True)]
    _note(labels, mapped, notes)
    return mapped


def _note(labels: Sequence[str], mapped: Sequence[LeadName | None], notes: list[str]) -> None:
    """Say which names were not the standard ones, and what was done about them."""
    said: dict[str, list[str]] = {}
    for label, name in zip(labels, mapped, strict=True):
        if name is not None and name.kind:
            said.setdefault(name.kind, []).append(f"{printable(label, 40)} as {display_name(name.lead)}")
    notes += [f"{kind}: {', '.join(names)}." for kind, names in said.items()]


def ready_line(mapped: Sequence[LeadName | None]) -> str:
    """A --leads to copy, with a question mark for each channel whose lead is unknown."""
    if not any(mapped) and len(mapped) == len(LEADS):
        return f"; where they stand in PTB-XL's order: --leads {READY}"
    if len(mapped) > 20:
        return ""
    words = ["?" if name is None else display_name(name.lead) for name in mapped]
    return f": --leads {','.join(words)} (a lead or - for each ?)"


def _given(
    source: Path, labels: Sequence[str], names: Sequence[str], notes: list[str]
) -> list[LeadName | None]:
    """Leads as --leads names them."""
    if len(names) != len(labels):
        raise UsageError(
            f"{source}: --leads names {len(names)} channels, but there are {len(labels)}: "
            f"{listed(labels)} (- leaves one out)"
        )
    for name in names:
        if name != "-" and read_name(name) is None:
            raise UsageError(
                f"--leads: '{printable(name, 40)}' is not a lead: {nearest(name, DISPLAY_NAMES)}, "
                "or - to leave it out"
            )
    notes.append(f"Channels were named by --leads: {', '.join(names)}.")
    return [None if name == "-" else read_name(name) for name in names]


def _lead_number(label: str) -> int | None:
    """Number of a lead that is numbered instead of named."""
    match = re.fullmatch(r"(?:lead|l)[ _-]?(\d{1,2})", label.strip(), re.IGNORECASE)
    return None if match is None else int(match[1])
