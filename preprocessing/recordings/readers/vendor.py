"""Formats of electrocardiographs and hospital systems, read with ecgdatakit (the extra `formats`).

The formats are recognized here, so that a file is named rightly where the library is not installed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import ADC_UNITS, Format, RawFile, Request, reason, register_format
from utils.ecg import unit_in_millivolts
from utils.errors import DataError

# a 10 s recording of 12 leads takes below 1 MB as XML, and the parser about ten times the size of its file
MAX_XML_BYTES = 64 * 2**20
MAX_BYTES = 512 * 2**20
ISHNE_FAULT = -32767.5  # the value -32768 marks a fault; half a unit for rounding
INSTALL = "pip install 'ecgdatakit[dicom]' (the extra `formats` of pyproject.toml)"


def is_dicom(head: bytes, path: Path) -> bool:
    """Whether a file has DICOM's preamble."""
    return head[128:132] == b"DICM"


def is_scp(head: bytes, path: Path) -> bool:
    """Whether section 0 follows the preamble, and its first pointer describes itself (EN 1064)."""
    return len(head) >= 32 and head[8:10] == b"\0\0" and head[22:24] == b"\0\0" and head[28:32] == b"\7\0\0\0"


def is_ishne(head: bytes, path: Path) -> bool:
    """Whether a file has the signature of the ISHNE Holter format."""
    return head.startswith(b"ISHNE1.0")


def is_mfer(head: bytes, path: Path) -> bool:
    """Whether a file begins with MFER's preamble (ISO 22077-1)."""
    return head[:1] == b"\x40" and head[2:6] == b"MFR "


def has_root(pattern: str) -> Callable[[bytes, Path], bool]:
    """Make the test whether an XML file has a root element of this name, with or without namespace."""
    element = re.compile(rf"<(?:[\w.-]+:)?(?:{pattern})[\s>]")

    def sniff(head: bytes, path: Path) -> bool:
        utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        return element.search(head.decode("utf-16" if utf16 else "latin-1", errors="ignore")) is not None

    return sniff


def reader(name: str, largest: int) -> Callable[[Path, Request], RawFile]:
    """Make the reader of a format, which refuses files of more than ``largest`` bytes."""

    def read(path: Path, request: Request) -> RawFile:
        """Read the rhythm leads; averaged beats are left out."""
        if (size := path.stat().st_size) > largest:
            raise DataError(f"{path}: {size:,} bytes of {name}; at most {largest:,} are read: export a part")
        try:
            from ecgdatakit.parsing.parser import FileParser

            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                record = FileParser.parse(path, units="mV")
        except ImportError as error:  # DICOM needs pydicom, too
            raise DataError(f"{path}: a file of the format {name}; to read it: {INSTALL}") from error
        except Exception as error:  # parsers raise nearly every built-in type on damaged files
            raise DataError(f"{path}: not a readable {name} file ({reason(error)})") from error
        notes = dict.fromkeys(f"{name}: {str(item.message).rstrip('.')}." for item in caught)
        channels = [_channel(lead) for lead in record.leads]
        if name == "ISHNE":
            notes |= dict.fromkeys(_check_ishne(record.raw_metadata, channels))
        return RawFile(name, channels, list(notes))

    return read


def _channel(lead) -> Channel:
    """A lead in mV, or in ADC units where the file does not say what one of them is."""
    unit = ADC_UNITS if lead.is_raw else lead.units
    factor = unit_in_millivolts(lead.resolution_unit or "")
    gain = 1 / (lead.resolution * factor) if factor and lead.resolution and not lead.is_raw else 1.0
    rate = float(lead.sampling_rate) or None
    return Channel(lead.label, np.asarray(lead.samples, np.float64), unit, rate, gain)


def _check_ishne(header: dict, channels: list[Channel]) -> list[str]:
    """Mark the samples that the format reserves for a lead fault, and say where file and header disagree."""
    for channel in channels:
        channel.values[channel.values * channel.gain <= ISHNE_FAULT] = np.nan
    declared, samples = header["ecg_size"], header["samples_per_lead"]
    if declared in (samples, samples * len(channels)):  # writers count one lead or all of them
        return []
    return [f"ISHNE: the header declares {declared:,} samples a lead, the file holds {samples:,}."]


for name, suffixes, sniff, largest in (
    ("DICOM", (".dcm",), is_dicom, MAX_BYTES),
    ("HL7 aECG", (".xml", ".aecg"), has_root("AnnotatedECG"), MAX_XML_BYTES),
    ("GE MUSE XML", (".xml",), has_root("RestingECG"), MAX_XML_BYTES),
    ("Philips XML", (".xml",), has_root("restingecgdata"), MAX_XML_BYTES),
    ("SCP-ECG", (".scp",), is_scp, MAX_BYTES),
    ("ISHNE", (".ecg",), is_ishne, MAX_BYTES),
    ("MFER", (".mwf", ".mfer", ".mfr"), is_mfer, MAX_BYTES),
):
    register_format(Format(name, suffixes, sniff, reader(name, largest)))
