"""Writers of the formats of electrocardiographs, from the published descriptions, independent of the readers.

Each takes signals (leads, T) in ADC units, int16, and writes `RATE` Hz at `MICROVOLTS` a unit.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

RATE = 500
MICROVOLTS = 5


def write_muse(path: Path, signals: np.ndarray, leads: list[str], unit: str = "MICROVOLTS") -> None:
    """GE MUSE XML (restecg.dtd): Base64 of little-endian int16 for each lead."""
    parts = []
    for lead, values in zip(leads, signals, strict=True):
        data = values.astype("<i2").tobytes()
        parts.append(
            f"<LeadData><LeadID>{lead}</LeadID><LeadSampleCountTotal>{len(values)}</LeadSampleCountTotal>"
            f"<LeadByteCountTotal>{len(data)}</LeadByteCountTotal>"
            f"<LeadAmplitudeUnitsPerBit>{MICROVOLTS}</LeadAmplitudeUnitsPerBit>"
            f"<LeadAmplitudeUnits>{unit}</LeadAmplitudeUnits><LeadSampleSize>2</LeadSampleSize>"
            f"<LeadDataCRC32>{zlib.crc32(data)}</LeadDataCRC32>"
            f"<WaveFormData>{base64.b64encode(data).decode()}</WaveFormData></LeadData>"
        )
    head = "<WaveformType>Rhythm</WaveformType>"
    rate = f"<SampleBase>{RATE}</SampleBase><SampleExponent>0</SampleExponent>"
    median = f"<Waveform><WaveformType>Median</WaveformType>{rate}{parts[0]}</Waveform>"
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n'
        f"<RestingECG>{median}<Waveform>{head}{rate}{''.join(parts)}</Waveform></RestingECG>"
    )


def write_aecg(path: Path, signals: np.ndarray, leads: list[str]) -> None:
    """HL7 annotated ECG (release 1): sequences of digits with origin and scale."""

    def sequence(code: str, value: str) -> str:
        return f"<component><sequence><code code={quoteattr(code)}/>{value}</sequence></component>"

    time = (
        f'<value xsi:type="GLIST_TS"><head value="20200101"/><increment value="{1 / RATE}" unit="s"/></value>'
    )
    parts = [sequence("TIME_ABSOLUTE", time)]
    for lead, values in zip(leads, signals, strict=True):
        digits = " ".join(map(str, values))
        scale = f'<origin value="0" unit="uV"/><scale value="{MICROVOLTS}" unit="uV"/>'
        value = f'<value xsi:type="SLIST_PQ">{scale}<digits>{digits}</digits></value>'
        parts.append(sequence(f"MDC_ECG_LEAD_{lead.upper()}", value))
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><component><series><code code="RHYTHM"/>'
        f"<component><sequenceSet>{''.join(parts)}</sequenceSet></component></series></component></AnnotatedECG>"
    )


def write_philips(path: Path, signals: np.ndarray, leads: list[str]) -> None:
    """Philips Sierra XML 1.03 without compression, UTF-16: one lead after the other."""
    data = base64.b64encode(signals.astype("<i2").tobytes()).decode()
    milliseconds = signals.shape[1] * 1000 // RATE
    path.write_text(
        '<?xml version="1.0" encoding="UTF-16"?>\n<restingecgdata xmlns="http://www3.medical.philips.com">'
        "<documentinfo><documenttype>SierraECG</documenttype><documentversion>1.03</documentversion>"
        "</documentinfo><dataacquisition><signalcharacteristics>"
        f"<samplingrate>{RATE}</samplingrate><resolution>{MICROVOLTS}</resolution>"
        f"<numberchannelsallocated>{len(leads)}</numberchannelsallocated></signalcharacteristics>"
        f'</dataacquisition><waveforms><parsedwaveforms leadlabels="{" ".join(leads)}" '
        f'dataencoding="Base64" compressflag="False" durationperchannel="{milliseconds}">{data}'
        "</parsedwaveforms></waveforms></restingecgdata>",
        encoding="utf-16",
    )


SCP_CODES = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {
    f"V{n}": n + 2 for n in range(1, 7)
}


def write_scp(path: Path, signals: np.ndarray, leads: list[str]) -> None:
    """SCP-ECG (EN 1064) with the sections 0, 3 and 6, neither Huffman codes nor reference beat."""

    def with_crc(content: bytes) -> bytes:
        return struct.pack("<H", binascii.crc_hqx(content, 0xFFFF)) + content

    def section(number: int, body: bytes, reserved: bytes = b"\0" * 6) -> bytes:
        body += b"\0" * (len(body) % 2)
        return with_crc(struct.pack("<HIBB", number, 16 + len(body), 20, 20) + reserved + body)

    length = signals.shape[1]
    definition = struct.pack("<BB", len(leads), (len(leads) << 3) | 4)
    definition += b"".join(struct.pack("<IIB", 1, length, SCP_CODES[lead]) for lead in leads)
    rhythm = struct.pack("<HHBB", 1000 * MICROVOLTS, 1_000_000 // RATE, 0, 0)
    rhythm += struct.pack(f"<{len(leads)}H", *[2 * length] * len(leads)) + signals.astype("<i2").tobytes()
    sections = {3: section(3, definition), 6: section(6, rhythm)}
    size = 16 + 10 * 12
    pointers, position = struct.pack("<HII", 0, size, 7), 7 + size
    for number in range(1, 12):
        content = sections.get(number, b"")
        pointers += struct.pack("<HII", number, len(content), position if content else 0)
        position += len(content)
    record = section(0, pointers, b"SCPECG") + sections[3] + sections[6]
    path.write_bytes(with_crc(struct.pack("<I", 6 + len(record)) + record))


ISHNE_CODES = {lead: 5 + n for n, lead in enumerate(["I", "II", "III", "aVR", "aVL", "aVF"])}
ISHNE_CODES |= {f"V{n}": 10 + n for n in range(1, 7)}


def write_ishne(path: Path, signals: np.ndarray, leads: list[str]) -> None:
    """ISHNE Holter format (Badilini 1998): a header of 522 bytes and interleaved int16."""
    header = bytearray(512)
    struct.pack_into("<iiii", header, 0, 0, signals.shape[1], 522, 522)
    struct.pack_into("<h", header, 16, 1)
    struct.pack_into("<h", header, 146, len(leads))
    unused = [-9] * (12 - len(leads))
    struct.pack_into("<12h", header, 148, *[ISHNE_CODES[lead] for lead in leads], *unused)
    struct.pack_into("<12h", header, 172, *[0] * len(leads), *unused)
    struct.pack_into("<12h", header, 196, *[1000 * MICROVOLTS] * len(leads), *unused)
    struct.pack_into("<h", header, 262, RATE)
    crc = struct.pack("<H", binascii.crc_hqx(bytes(header), 0xFFFF))
    path.write_bytes(b"ISHNE1.0" + crc + bytes(header) + signals.T.astype("<i2").tobytes())


def write_mfer(path: Path, signals: np.ndarray, leads: list[str]) -> None:
    """MFER (ISO 22077-1): tag, length, value; one block of all samples for each channel."""

    def item(tag: int, value: bytes) -> bytes:
        size = bytes([len(value)]) if len(value) < 128 else b"\x84" + struct.pack(">I", len(value))
        return bytes([tag]) + size + value

    content = item(0x40, b"MFR Standard 12 leads ECG".ljust(32)) + item(0x01, b"\1")
    content += item(0x0B, struct.pack("<BbH", 0, 0, RATE)) + item(
        0x0C, struct.pack("<BbH", 0, -6, MICROVOLTS)
    )
    content += item(0x0A, b"\0") + item(0x04, struct.pack("<I", signals.shape[1]))
    content += item(0x05, struct.pack("<H", len(leads))) + item(0x06, struct.pack("<H", 1))
    for channel, lead in enumerate(
        leads
    ):  # an attribute of a channel names its number between tag and length
        name = item(0x09, struct.pack("<H", SCP_CODES[lead]))
        content += bytes([0x3F, channel, len(name)]) + name
    content += item(0x1E, signals.astype("<i2").tobytes()) + b"\x80\0"
    path.write_bytes(content)
