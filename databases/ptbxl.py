"""PTB-XL: its two tables, and single recordings; `databases.ptbxl_signals` reads all recordings at once.

Wagner et al., PTB-XL, a large publicly available electrocardiography dataset, Scientific Data 7, 154 (2020),
doi:10.1038/s41597-020-0495-6. Releases 1.0.1, 1.0.2 and 1.0.3 share this layout.
"""

from __future__ import annotations

import ast
import codecs
import functools
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from databases.base import Annotations, Database, Recording, Source
from databases.registry import register_database
from databases.wfdb_reader import read_record
from utils.ecg import LEADS
from utils.errors import DataError, UsageError
from utils.files import read_error, read_json, stays_inside
from utils.text import listed

_logger = logging.getLogger(__name__)
DATABASE_CSV = "ptbxl_database.csv"
STATEMENTS_CSV = "scp_statements.csv"
SYNTHETIC_MARKER = "synthetic.json"  # `databases.synthetic` leaves its parameters in it
MI_REFERENCE_SPLITS = {  # IMLE-Net's own selection, whose test set made every choice, too
    "train": "the reference's MI training set",
    "test": "the reference's MI test set (folds 9-10, NORM of fold 3), which also made every choice",
}
SPLIT_NAMES = {"train": "folds 1-8", "val": "fold 9", "test": "fold 10"}
FILENAME_COLUMNS = {100: "filename_lr", 500: "filename_hr"}
_OPTIONAL_COLUMNS = (
    *("age", "sex", "device", "pacemaker"),
    *("baseline_drift", "static_noise", "burst_noise", "electrodes_problems"),  # empty where nobody noted any
)
_OFFICIAL_SIZES = {21799: "1.0.3", 21837: "1.0.1 or 1.0.2"}
_RESTORE = "compare it with the original, or download it again"
_GET_IT = (
    "download it with `python -m databases.download ptbxl --to FOLDER` and point --data_dir at that folder"
)


@register_database
class Ptbxl(Database):
    """PTB-XL, or a database in its layout.

    ``records`` is indexed by ecg_id and also has ``fold``, ``age`` (300: above 89), ``sex`` (0: male),
    ``scp_codes`` and, where the table has them, ``device``, ``pacemaker`` and the notes on signal quality.
    """

    name = "ptbxl"
    title = "PTB-XL 1.0.3"
    license = "CC BY 4.0"
    doi = "10.1038/s41597-020-0495-6"
    size = 21_799
    lead_count = 12
    rates: ClassVar[tuple[int, ...]] = (100, 500)
    split_names: ClassVar = SPLIT_NAMES
    source: ClassVar[Source | None] = Source(
        url="https://physionet.org/files/ptb-xl/1.0.3/",
        tables=(DATABASE_CSV, STATEMENTS_CSV),
        records={100: r"records100/.*\.(hea|dat)", 500: r"records500/.*\.(hea|dat)"},
    )

    def __init__(self, root: str | os.PathLike, sampling_rate: int = 100) -> None:
        super().__init__(root)
        self.sampling_rate = sampling_rate

    def _read_records(self) -> pd.DataFrame:
        table = read_database(self.root, self.sampling_rate)
        table = table.rename(columns={"patient_id": "patient", "strat_fold": "fold", "filename": "path"})
        table["sampling_rate"] = self.sampling_rate
        table["leads"] = [LEADS] * len(table)
        table["split"] = splits_of_folds(table["fold"].to_numpy())
        return table

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Recording:
        path = self.root / self.row(record)["path"]
        return read_record(path, leads or LEADS, start, stop, sampling_rate=self.sampling_rate)

    def annotations(self, record: Any) -> Annotations:
        return Annotations(statements=dict(self.row(record)["scp_codes"]))


def splits_of_folds(folds: np.ndarray) -> np.ndarray:
    """Name the split of each record from its ``strat_fold``, as PTB-XL recommends; folds (N,) -> (N,)."""
    return np.asarray(["train", "val", "test"])[np.clip(np.asarray(folds, dtype=np.int64) - 8, 0, 2)]


def _find_csv(data_dir: Path, name: str) -> Path:
    """Path of a table; the error for an absent one says what the folder holds."""
    try:
        if (data_dir / name).is_file():
            return data_dir / name
        if not data_dir.is_dir():
            raise DataError(f"PTB-XL folder {data_dir} does not exist: {_GET_IT}")
        inside = sorted(data_dir.glob(f"*/{name}"))
    except OSError as error:
        raise read_error(data_dir, error) from error
    if inside:
        raise DataError(
            f"{data_dir} has no {name}, but {inside[0].parent} has: use that folder as --data_dir"
        )
    raise DataError(f"{data_dir} has no {name}, so it is not a PTB-XL folder: {_GET_IT}")


def _read_csv(
    path: Path, columns: list[str], index: str | None = None, optional: Sequence[str] = ()
) -> pd.DataFrame:
    """`columns` and those of `optional` that exist, indexed by `index` or by the first column."""
    try:
        form = _form_of(path)
        header = list(pd.read_csv(path, nrows=0, **form).columns)
        index = index or header[0]
        absent = [c for c in [index, *columns] if c not in header]
        if absent:
            raise DataError(
                f"{path} has no column {', '.join(absent)}; its columns are {listed(header)}: it is not "
                f"PTB-XL's official table (releases 1.0.1 to 1.0.3 have it); {_RESTORE}"
            )
        columns = columns + [column for column in optional if column in header]
        table = pd.read_csv(path, usecols=[index, *columns], index_col=index, low_memory=False, **form)
    except OSError as error:
        raise read_error(path, error) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError) as error:
        raise DataError(f"{path} is not a readable CSV table ({error}): {_RESTORE}") from error
    if form["sep"] != ",":
        _logger.info(f"{path}: was saved by a spreadsheet ({form['sep']!r} between its cells), and read so")
        for column in table.columns:  # with decimal commas, perhaps
            words = table[column].dropna().astype(str)
            if len(words) and words.str.fullmatch(r"-?\d+,\d+").any():
                table[column] = pd.to_numeric(
                    table[column].astype(str).str.replace(",", "."), errors="coerce"
                )
    return table


def _form_of(path: Path) -> dict[str, Any]:
    """How a table is written: the official way, or as a spreadsheet has saved it."""
    with open(path, "rb") as file:
        head = file.read(65536)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    first = head.decode(encoding, errors="replace").lstrip("\ufeff").splitlines()[:2] or [""]
    skip = int(first[0].lower().startswith("sep="))
    line = first[min(skip, len(first) - 1)]
    separator = max(",;\t|", key=line.count)
    # reports in German, saved in Latin-1, are not read: bytes that are not UTF-8 do not matter
    return {"sep": separator, "encoding": encoding, "encoding_errors": "replace", "skiprows": skip}


def _whole_numbers(table: pd.DataFrame, column: str, low: int, high: int, path: Path) -> np.ndarray:
    """A column as int64; the records where it is not a whole number in range are named."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
    bad = ~((values >= low) & (values <= high) & (np.floor(values) == values))
    if bad.any():
        ids = ", ".join(map(str, table.index[bad][:10]))
        raise DataError(
            f"{path}: column {column} is not a whole number from {low} to {high} for {bad.sum()} records "
            f"(ecg_id {ids}): restore the official table"
        )
    return values.astype(np.int64)


@functools.lru_cache(maxsize=16384)  # the 21,799 records share far fewer texts
def _codes_of(text: str) -> dict[str, float]:
    return {code: float(likelihood) for code, likelihood in ast.literal_eval(text).items()}


def parse_scp_codes(text: str, ecg_id: int) -> dict[str, float]:
    """Read the text of the column ``scp_codes``: SCP-ECG code -> likelihood in percent."""
    try:
        likelihoods = dict(_codes_of(text))
    except (
        *(ValueError, SyntaxError, TypeError, AttributeError),
        *(OverflowError, MemoryError, RecursionError),
    ) as error:
        raise DataError(
            f"{DATABASE_CSV}: scp_codes of ecg_id {ecg_id} is {str(text)[:80]!r}, not a dict; "
            "restore the official table"
        ) from error
    for code, likelihood in likelihoods.items():
        if not isinstance(code, str) or not math.isfinite(likelihood) or not 0 <= likelihood <= 100:
            raise DataError(
                f"{DATABASE_CSV}: scp_codes of ecg_id {ecg_id} holds {code!r}: {likelihood}, "
                "not a code with a likelihood from 0 to 100: restore the official table"
            )
    return likelihoods


def read_database(data_dir: str | os.PathLike, sampling_rate: int = 100) -> pd.DataFrame:
    """Read ``ptbxl_database.csv``: one row a record in the order of the file, indexed by ``ecg_id``.

    Columns: ``patient_id``, ``strat_fold``, ``scp_codes`` (code -> likelihood), ``filename`` of the rate
    (relative, without extension) and those of `_OPTIONAL_COLUMNS` that the file has.
    """
    if sampling_rate not in FILENAME_COLUMNS:
        raise UsageError(f"PTB-XL comes at 100 and 500 Hz, not at {sampling_rate} Hz: choose one of these")
    column = FILENAME_COLUMNS[sampling_rate]
    path = _find_csv(Path(data_dir), DATABASE_CSV)
    table = _read_csv(path, ["patient_id", "scp_codes", "strat_fold", column], "ecg_id", _OPTIONAL_COLUMNS)
    if not len(table):
        raise DataError(f"{path} lists no record: restore the official table")
    table.index = pd.Index(
        _whole_numbers(table.reset_index(names="ecg_id"), "ecg_id", 0, 2**31, path), name="ecg_id"
    )
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()]
        raise DataError(
            f"{path} lists ecg_id {', '.join(map(str, twice[:10]))} twice: restore the official table"
        )
    names = table[column].fillna("").astype(str)
    outside = [bool(name) and not stays_inside(name) for name in names]
    for bad, fault in ((names == "", "is empty"), (outside, "names a file outside the folder")):
        if any(bad):
            ids = ", ".join(map(str, table.index[bad][:10]))
            raise DataError(f"{path}: column {column} {fault} for {sum(bad)} records (ecg_id {ids})")
    columns = {
        "patient_id": _whole_numbers(table, "patient_id", 0, 2**31, path),
        "strat_fold": _whole_numbers(table, "strat_fold", 1, 10, path),
        "scp_codes": [parse_scp_codes(t, i) for i, t in zip(table.index, table["scp_codes"], strict=True)],
        "filename": names.to_numpy(),
    }
    return pd.DataFrame(columns, index=table.index).join(table[table.columns.intersection(_OPTIONAL_COLUMNS)])


def read_statements(data_dir: str | os.PathLike) -> pd.DataFrame:
    """Read ``scp_statements.csv``: one row a statement in the order of the file, indexed by its code.

    Columns: ``diagnostic``, ``form``, ``rhythm`` (bool), ``diagnostic_class`` and ``diagnostic_subclass``
    (empty where there is none).
    """
    path = _find_csv(Path(data_dir), STATEMENTS_CSV)
    kinds, groups = ["diagnostic", "form", "rhythm"], ["diagnostic_class", "diagnostic_subclass"]
    table = _read_csv(path, kinds + groups)
    flags = table[kinds].apply(pd.to_numeric, errors="coerce")
    wrong = table.index[~(flags.isin([0, 1]) | table[kinds].isna()).all(axis=1)]
    if len(wrong) or table.index.has_duplicates:
        codes = ", ".join(map(str, (wrong if len(wrong) else table.index[table.index.duplicated()])[:10]))
        fault = f"holds another value than 1 in {', '.join(kinds)}" if len(wrong) else "lists a code twice"
        raise DataError(f"{path} {fault} ({codes}): restore the official table")
    statements = flags.eq(1)
    for group in groups:
        statements[group] = table[group].fillna("").astype(str)
    return statements


def release_of(data_dir: str | os.PathLike, records: int) -> str:
    """Release of PTB-XL, from its number of records; a synthetic dataset has a marker file."""
    marker = Path(data_dir) / SYNTHETIC_MARKER
    if marker.is_file():
        try:
            parameters = read_json(marker)
            return f"synthetic (seed {parameters['seed']}, {records} records, format {parameters['format']})"
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{marker} does not hold the parameters of a synthetic dataset: write the dataset again, or "
                "remove this file if the recordings are real"
            ) from error
    return _OFFICIAL_SIZES.get(records, f"no official release ({records} records)")
