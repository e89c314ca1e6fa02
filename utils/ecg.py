"""What every layer shares: the names of the twelve leads, and units of voltage."""

from __future__ import annotations

# PTB-XL's spelling and order (its web page lists aVL and aVR swapped; the headers do not).
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
DISPLAY_NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
NOT_A_DEVICE = "Not a medical device. For research and teaching; never for diagnosis or treatment."

_MILLIVOLTS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "nv": 1e-6}
_MILLIVOLTS |= {"volt": 1e3, "millivolt": 1.0, "microvolt": 1e-3, "nanovolt": 1e-6}
_MILLIVOLTS |= {"volts": 1e3, "millivolts": 1.0, "microvolts": 1e-3, "nanovolts": 1e-6}


def display_name(lead: str) -> str:
    """Lead as people write it."""
    return DISPLAY_NAMES[LEADS.index(lead)] if lead in LEADS else lead


def unit_in_millivolts(unit: str) -> float | None:
    """Size of a unit of voltage."""
    return _MILLIVOLTS.get(unit.strip().replace("µ", "u").replace("μ", "u").lower())
