"""Three groups of PTB-XL's 71 SCP-ECG statements, by the evidence that a reader looks for.

Sethi et al., MLHC 2025, PMLR 298, arXiv:2504.08713. The groups are kept as published, including placements
that a cardiologist would question (IVCD is in the rhythm group, LPR is not).
"""

# fmt: off
RHYTHM = (
    "1AVB", "IVCD", "3AVB", "2AVB", "SR", "AFIB", "STACH", "SARRH", "SBRAD", "PACE", "SVARR", "BIGU", "AFLT",
    "SVTAC", "PSVT", "TRIGU",
)
MORPHOLOGY = (
    "NDT", "NST_", "LNGQT", "IMI", "ASMI", "LVH", "LAFB", "ISC_", "IRBBB", "ISCAL", "CRBBB", "CLBBB", "ILMI",
    "LAO/LAE", "AMI", "ALMI", "ISCIN", "INJAS", "LMI", "ISCIL", "LPFB", "ISCAS", "INJAL", "ISCLA", "RVH",
    "ANEUR", "RAO/RAE", "WPW", "ILBBB", "IPLMI", "ISCAN", "IPMI", "SEHYP", "INJIN", "INJLA", "PMI", "INJIL",
    "ABQRS", "PVC", "STD_", "VCLVH", "QWAVE", "LOWT", "NT_", "PAC", "LPR", "INVT", "LVOLT", "HVOLT", "TAB_",
    "STE_", "PRC(S)",
)
# fmt: on
GLOBAL = ("DIG", "NORM", "EL")

PROTO_GROUPS = {"proto_rhythm": RHYTHM, "proto_morphology": MORPHOLOGY, "proto_global": GLOBAL}
# the names the reference's command line gives the groups ("2" exists there too, but is empty)
REFERENCE_NAMES = {"1": "proto_rhythm", "3": "proto_morphology", "4": "proto_global"}
