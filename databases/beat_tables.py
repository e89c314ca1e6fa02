"""The three beat-annotated Holter sets: rates, leads, splits and patients.

MIT-BIH Arrhythmia: doi:10.13026/C2F305, split of de Chazal et al. (2004), doi:10.1109/TBME.2004.827359,
without the four records of paced patients (102, 104, 107, 217). MIT-BIH Supraventricular Arrhythmia:
doi:10.13026/C2V30W. St Petersburg INCART: doi:10.13026/C2V88N.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class BeatSet:
    """One dataset of 30-minute records with an annotation for every beat.

    ``name``: as on the command line.
    ``lead``: name of the lead that is taken.
    ``reference_column``: column that the reference takes, whatever its name.
    ``train, test``: records of the reference's split.
    ``moved``: records of `test` that go into training, because their patient is there.
    ``val``: records of `train` that serve as validation; whole patients.
    ``patients``: patient of a record, where it is not the record's own name.
    """

    name: str
    sampling_rate: int
    lead: str
    reference_column: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    val: frozenset[str]
    moved: tuple[str, ...] = ()
    patients: dict[str, str] = field(default_factory=dict)

    def split_of(self, record: str, reference: bool) -> str:
        """Name the split of a record."""
        if record in self.test and (reference or record not in self.moved):
            return "test"
        return "val" if record in self.val and not reference else "train"


def _numbers(*ranges: tuple[int, int]) -> tuple[str, ...]:
    return tuple(str(number) for first, last in ranges for number in range(first, last + 1))


# fmt: off
_DS1 = ("101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122",
        "124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230")
_DS2 = ("100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
        "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234")
# fmt: on

MITDB = BeatSet(
    name="mitdb",
    sampling_rate=360,
    lead="MLII",
    reference_column=0,
    train=_DS1,
    test=_DS2,
    # the header of 202 says that it was taken from the same tape as 201
    moved=("202",),
    patients={"202": "201"},
    # 4 of 22 training patients, with windows of every class: N 658, SVEB 61, VEB 172, F 9
    val=frozenset({"114", "205", "215", "220"}),
)

SVDB = BeatSet(
    name="svdb",
    sampling_rate=128,
    lead="ECG1",
    reference_column=0,
    train=_numbers((800, 812), (820, 829), (840, 855)),
    test=_numbers((856, 894)),
    # 8 of 39 training records; no table of patients was published, so that each record counts as one.
    # 801 and 803 hold windows of all four classes: N 253, SVEB 17, VEB 179, F 1
    val=frozenset({"801", "803", "811", "822", "828", "844", "849", "853"}),
)

# incartdb: 75 half-hours of 32 patients. Each header says whose it is (a line "patient 7"); the list on the
# dataset's page (files-patients-diagnoses.txt) gives patients 1, 2, 3, ... so many records each, in order.
# fmt: off
_INCART_RECORDS = (2, 3, 2, 1, 3, 3, 1, 2, 2, 3, 2, 2, 2, 4, 2, 3,
                   2, 2, 2, 3, 2, 2, 3, 3, 2, 3, 3, 3, 2, 2, 2, 2)
# fmt: on
_INCART_NAMES = tuple(f"I{number:02}" for number in range(1, 76))
_INCART_PATIENTS = dict(
    zip(
        _INCART_NAMES,
        (str(patient) for patient, records in enumerate(_INCART_RECORDS, 1) for _ in range(records)),
        strict=True,
    )
)

INCARTDB = BeatSet(
    name="incartdb",
    sampling_rate=257,
    lead="II",
    reference_column=1,
    train=_INCART_NAMES[:37],  # patients 1 to 16: the reference's split keeps patients whole
    test=_INCART_NAMES[37:],
    # 3 of 16 training patients (2, 6, 10), taken at even distances
    val=frozenset({"I03", "I04", "I05", "I12", "I13", "I14", "I20", "I21", "I22"}),
    patients=_INCART_PATIENTS,
)
