"""The SCP-ECG statements that the synthetic dataset uses, in the row order of PTB-XL's scp_statements.csv.

Codes, classes and subclasses are those of PTB-XL (Wagner et al. 2020, doi:10.1038/s41597-020-0495-6).
"""

from __future__ import annotations

import pandas as pd

_COLUMNS = [
    "description",
    "diagnostic",
    "form",
    "rhythm",
    "diagnostic_class",
    "diagnostic_subclass",
    "Statement Category",
    "SCP-ECG Statement Description",
    "AHA code",
    "aECG REFID",
    "CDISC Code",
    "DICOM Code",
]

# code, description, kinds (d = diagnostic, f = form, r = rhythm), class, subclass
_STATEMENTS = [
    ("NDT", "non-diagnostic T abnormalities", "df", "STTC", "STTC"),
    ("NST_", "non-specific ST changes", "df", "STTC", "NST_"),
    ("LNGQT", "long QT-interval", "df", "STTC", "STTC"),
    ("NORM", "normal ECG", "d", "NORM", "NORM"),
    ("IMI", "inferior myocardial infarction", "d", "MI", "IMI"),
    ("ASMI", "anteroseptal myocardial infarction", "d", "MI", "AMI"),
    ("LVH", "left ventricular hypertrophy", "d", "HYP", "LVH"),
    ("LAFB", "left anterior fascicular block", "d", "CD", "LAFB/LPFB"),
    ("ISC_", "non-specific ischemic", "d", "STTC", "ISC_"),
    ("IRBBB", "incomplete right bundle branch block", "d", "CD", "IRBBB"),
    ("1AVB", "first degree AV block", "d", "CD", "_AVB"),
    ("IVCD", "non-specific intraventricular conduction disturbance (block)", "d", "CD", "IVCD"),
    ("ISCAL", "ischemic in anterolateral leads", "d", "STTC", "ISCA"),
    ("CRBBB", "complete right bundle branch block", "d", "CD", "CRBBB"),
    ("CLBBB", "complete left bundle branch block", "d", "CD", "CLBBB"),
    ("ILMI", "inferolateral myocardial infarction", "d", "MI", "IMI"),
    ("LAO/LAE", "left atrial overload/enlargement", "d", "HYP", "LAO/LAE"),
    ("AMI", "anterior myocardial infarction", "d", "MI", "AMI"),
    ("ALMI", "anterolateral myocardial infarction", "d", "MI", "AMI"),
    ("ISCIN", "ischemic in inferior leads", "d", "STTC", "ISCI"),
    ("LMI", "lateral myocardial infarction", "d", "MI", "LMI"),
    ("RVH", "right ventricular hypertrophy", "d", "HYP", "RVH"),
    ("ABQRS", "abnormal QRS", "f", None, None),
    ("PVC", "ventricular premature complex", "f", None, None),
    ("STD_", "non-specific ST depression", "f", None, None),
    ("VCLVH", "voltage criteria (QRS) for left ventricular hypertrophy", "f", None, None),
    ("QWAVE", "Q waves present", "f", None, None),
    ("LOWT", "low amplitude T-waves", "f", None, None),
    ("LPR", "prolonged PR interval", "f", None, None),
    ("INVT", "inverted T-waves", "f", None, None),
    ("HVOLT", "high QRS voltage", "f", None, None),
    ("SR", "sinus rhythm", "r", None, None),
    ("AFIB", "atrial fibrillation", "r", None, None),
    ("STACH", "sinus tachycardia", "r", None, None),
    ("SARRH", "sinus arrhythmia", "r", None, None),
    ("SBRAD", "sinus bradycardia", "r", None, None),
]

CODES = tuple(row[0] for row in _STATEMENTS)


def statement_table() -> pd.DataFrame:
    """Content of scp_statements.csv, with PTB-XL's columns."""
    rows = {
        code: {
            "description": description,
            "diagnostic": 1.0 if "d" in kinds else None,
            "form": 1.0 if "f" in kinds else None,
            "rhythm": 1.0 if "r" in kinds else None,
            "diagnostic_class": superclass,
            "diagnostic_subclass": subclass,
            "SCP-ECG Statement Description": description,
        }
        for code, description, kinds, superclass, subclass in _STATEMENTS
    }
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=_COLUMNS)
