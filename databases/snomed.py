"""SNOMED CT codes of the PhysioNet/CinC Challenges 2020 and 2021: abbreviations, scored classes, equivalents.

Perez Alday et al., Physiol. Meas. 41, 124003 (2020), doi:10.1088/1361-6579/abc960; Reyna et al., Computing in
Cardiology 48 (2021), doi:10.23919/CinC53138.2021.9662687.
"""

from __future__ import annotations

# code -> abbreviation and name, of the classes that one of the two challenges scores
SCORED: dict[str, tuple[str, str]] = {
    "270492004": ("IAVB", "1st degree av block"),
    "164889003": ("AF", "atrial fibrillation"),
    "164890007": ("AFL", "atrial flutter"),
    "6374002": ("BBB", "bundle branch block"),
    "426627000": ("Brady", "bradycardia"),
    "733534002": ("CLBBB", "complete left bundle branch block"),
    "713427006": ("CRBBB", "complete right bundle branch block"),
    "713426002": ("IRBBB", "incomplete right bundle branch block"),
    "39732003": ("LAD", "left axis deviation"),
    "445118002": ("LAnFB", "left anterior fascicular block"),
    "164909002": ("LBBB", "left bundle branch block"),
    "251146004": ("LQRSV", "low qrs voltages"),
    "164947007": ("LPR", "prolonged pr interval"),
    "111975006": ("LQT", "prolonged qt interval"),
    "698252002": ("NSIVCB", "nonspecific intraventricular conduction disorder"),
    "426783006": ("NSR", "sinus rhythm"),
    "284470004": ("PAC", "premature atrial contraction"),
    "10370003": ("PR", "pacing rhythm"),
    "365413008": ("PRWP", "poor r wave progression"),
    "427172004": ("PVC", "premature ventricular contractions"),
    "164917005": ("QAb", "qwave abnormal"),
    "47665007": ("RAD", "right axis deviation"),
    "59118001": ("RBBB", "right bundle branch block"),
    "427393009": ("SA", "sinus arrhythmia"),
    "426177001": ("SB", "sinus bradycardia"),
    "427084000": ("STach", "sinus tachycardia"),
    "63593006": ("SVPB", "supraventricular premature beats"),
    "164934002": ("TAb", "t wave abnormal"),
    "59931005": ("TInv", "t wave inversion"),
    "17338001": ("VPB", "ventricular premature beats"),
}
_ADDED_2021 = ("6374002", "733534002", "365413008")
# codes that a challenge counts as one class: code -> the one it is counted as
EQUIVALENT_2020 = {"59118001": "713427006", "63593006": "284470004", "17338001": "427172004"}
EQUIVALENT_2021 = {**EQUIVALENT_2020, "164909002": "733534002"}


def scored_classes(year: int) -> tuple[str, ...]:
    """Sorted abbreviations of the classes that a challenge (2020 or 2021) scores, equivalents once."""
    equivalent = EQUIVALENT_2020 if year == 2020 else EQUIVALENT_2021
    left_out = set(equivalent) | (set(_ADDED_2021) if year == 2020 else set())
    return tuple(sorted(abbreviation for code, (abbreviation, _) in SCORED.items() if code not in left_out))


def abbreviate(code: str, year: int) -> str:
    """Abbreviation of the class that a code is scored as; the code itself where it is not scored."""
    code = (EQUIVALENT_2020 if year == 2020 else EQUIVALENT_2021).get(code, code)
    if code not in SCORED or (year == 2020 and code in _ADDED_2021):
        return code
    return SCORED[code][0]
