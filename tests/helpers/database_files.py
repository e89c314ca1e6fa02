"""A few records of each database that has no real files for tests, in the database's own layout."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import scipy.io

from databases.synthetic import write_dataset
from databases.wfdb_files import import_wfdb, write_record
from tests.helpers.own_files import write_table
from tests.helpers.window_files import write_annotations, write_beat_record
from utils.ecg import DISPLAY_NAMES, LEADS

BEATS = [(5, "N"), (300, "V"), (700, "N")]


def write_notes(path: Path, suffix: str, notes: list[tuple[int, str, str]]) -> None:
    """Write (sample, symbol, text) annotations."""
    samples, symbols, texts = zip(*notes, strict=True)
    folder, name = str(path.parent), path.name.replace("-", "_")
    import_wfdb().wrann(name, "new", np.array(samples), list(symbols), aux_note=list(texts), write_dir=folder)
    path.with_name(f"{name}.new").rename(path.with_name(f"{path.name}.{suffix}"))


def add_comments(path: Path, lines: list[str]) -> None:
    """Append comment lines to a header."""
    header = path.with_name(f"{path.name}.hea")
    header.write_text(header.read_text() + "".join(f"#{line}\n" for line in lines))


def write_afdb(folder: Path) -> None:
    """Two records, one of them with corrected beats, and the header of one without signals."""
    for name in ("04015", "04043"):
        write_beat_record(folder, name, 250, BEATS, ("ECG1", "ECG2"), seconds=4)
        write_annotations(folder / name, [(5, "N"), (300, "N")], "qrs")
        write_notes(folder / name, "atr", [(0, "+", "(N"), (400, "+", "(AFIB")])
    write_annotations(folder / "04043", BEATS, "qrsc")
    (folder / "00735.hea").write_text("00735 0 250 9205760\n")


def write_ltafdb(folder: Path) -> None:
    """One record with beats and a rhythm."""
    write_beat_record(folder, "00", 128, BEATS, ("ECG", "ECG"), seconds=8)
    write_notes(folder / "00", "atr", [(0, "+", "(N"), (5, "N", ""), (300, "V", ""), (500, "+", "(AFIB")])


def write_apnea_ecg(folder: Path) -> None:
    """A night of three minutes and a bit, with its respiration, and one of the test set without labels."""
    write_beat_record(folder, "a01", 100, BEATS, ("ECG",), seconds=200)
    write_beat_record(folder, "a01r", 100, BEATS, ("Resp C",), seconds=4)
    write_beat_record(folder, "x01", 100, BEATS, ("ECG",), seconds=4)
    write_annotations(folder / "a01", BEATS, "qrs")
    write_annotations(folder / "a01", [(0, "N"), (6000, "A"), (12000, "A")], "apn")


def write_cinc2018(folder: Path) -> None:
    """A training night with an EEG in microvolts, an ECG, and oxygen saturation, and a test night."""
    for name in ("tr03-0005", "te03-0001"):
        part = folder / ("training" if name.startswith("tr") else "test") / name
        part.mkdir(parents=True)
        samples = np.tile(np.arange(1600, dtype=np.int16)[:, None], (1, 3))
        write_record(part, name, samples, 200, ("F3-M2", "ECG", "SaO2"))
        header = part / f"{name}.hea"
        lines = header.read_text().splitlines()
        lines[1] = lines[1].replace("/mV", "/uV").replace("1000", "1", 1)
        lines[3] = lines[3].replace("/mV", "/%")
        header.write_text("\n".join(lines) + "\n")
    notes = [(1, '"', "W"), (600, '"', "N1"), (700, '"', "(arousal_rera"), (900, '"', "arousal_rera)")]
    write_notes(folder / "training" / "tr03-0005" / "tr03-0005", "arousal", notes)


def write_cinc2020(folder: Path) -> None:
    """Records of two sources, with rates of 500 and 1000 Hz and headers of both releases."""
    for group, name, rate, said in (
        (
            "georgia",
            "E00001",
            500,
            ["Age: 78", "Sex: Female", "Dx: 426783006,59118001,55827005", "Rx: Unknown"],
        ),
        ("ptb", "S0001", 1000, [" Age: NaN", " Sex: Unknown", " Dx: 164865005"]),
    ):
        part = folder / "training" / group / "g1"
        write_beat_record(part, name, rate, BEATS, DISPLAY_NAMES, seconds=4)
        add_comments(part / name, said)


def write_cpsc2020(folder: Path) -> None:
    """One record of 4 s with its premature beats."""
    for part in ("data", "ref"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / "data" / "A01.mat", {"ecg": np.sin(np.arange(1600)[:, None] / 50)})
    reference = {"S_ref": np.array([[900], [1200]]), "V_ref": np.array([[300]])}
    scipy.io.savemat(folder / "ref" / "R01.mat", {"ref": reference})


def write_ptbxl_plus(folder: Path) -> None:
    """Median beats of one ECG by two programs, and a table of features."""
    for program in ("12sl", "unig"):
        part = folder / "median_beats" / program / "00000"
        part.mkdir(parents=True)
        samples = np.tile(np.arange(600, dtype=np.int16)[:, None], (1, 12))
        write_record(part, "00001_medians", samples, 500, LEADS)
    (folder / "features").mkdir()
    (folder / "features" / "12sl_features.csv").write_text("ecg_id,QT_Int_Global\n1,388\n")


def write_shhs(folder: Path) -> None:
    """One night of 8 s with an ECG and an EEG."""
    part = folder / "edfs" / "shhs1"
    part.mkdir(parents=True)
    wave = np.sin(np.arange(8 * 125) / 20)
    signals = [
        edfio.EdfSignal(wave, 125, label=label, physical_dimension=unit, physical_range=(-2, 2))
        for label, unit in (("ECG", "mV"), ("EEG", "uV"))
    ]
    edfio.Edf(signals).write(part / "shhs1-200001.edf")


def write_icentia11k(folder: Path) -> None:
    """One segment of two patients."""
    for patient in ("p00003", "p00005"):
        marks = [(0, "+"), (100, "N"), (400, "V")]
        write_beat_record(folder / "p00" / patient, f"{patient}_s00", 250, marks, ("ecg",), seconds=4)


def write_incartdb(folder: Path) -> None:
    """Two records."""
    for record in ("I01", "I40"):
        write_beat_record(folder, record, 257, BEATS, LEADS, seconds=4)


WRITERS = {
    "afdb": write_afdb,
    "apnea_ecg": write_apnea_ecg,
    "cinc2018": write_cinc2018,
    "cinc2020": write_cinc2020,
    "cpsc2020": write_cpsc2020,
    "icentia11k": write_icentia11k,
    "incartdb": write_incartdb,
    "ltafdb": write_ltafdb,
    "ptbxl_plus": write_ptbxl_plus,
    "shhs": write_shhs,
    "synthetic": lambda folder: write_dataset(folder, records=20),
    "table": lambda folder: write_table(folder / "records.csv", 8),
}
