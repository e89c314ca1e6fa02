"""Label sets: rules of each task on hand-made tables, and their published sizes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from databases.ptbxl import parse_scp_codes, read_database, read_statements
from databases.scp_groups import GLOBAL, MORPHOLOGY, PROTO_GROUPS, RHYTHM
from preprocessing import load_ptbxl
from preprocessing.targets import Targets, find_targets, list_targets, register_targets, registry
from preprocessing.targets.ptbxl import build_labels
from tests.helpers.ptbxl_files import STATEMENTS
from utils.errors import DataError, UsageError

FOLDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def statements() -> pd.DataFrame:
    rows = {code: (d == 1, f == 1, r == 1, c, s) for code, (d, f, r, c, s) in STATEMENTS.items()}
    columns = ["diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def database(codes: list[dict[str, float]], folds: list[int] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {"scp_codes": codes, "strat_fold": folds or [FOLDS[k % 10] for k in range(len(codes))]},
        index=pd.Index(range(1, len(codes) + 1), name="ecg_id"),
    )


def names(table, row: int) -> set[str]:
    return {name for name, present in zip(table.classes, table.values[row], strict=True) if present}


def test_superdiagnostic_groups_codes_sorts_classes_and_drops_unlabeled():
    table = build_labels(
        database(
            [
                {"NORM": 100, "SR": 0},
                {"IMI": 0, "LAFB": 15, "ABQRS": 0},
                {"SR": 0},
                {},
                {"LVH": 50, "NDT": 100},
            ]
        ),
        statements(),
    )
    assert table.classes == ["CD", "HYP", "MI", "NORM", "STTC"]
    assert table.rows.tolist() == [0, 1, 4]
    assert [names(table, i) for i in range(3)] == [{"NORM"}, {"MI", "CD"}, {"HYP", "STTC"}]
    assert table.values.dtype == np.uint8


def test_subdiagnostic_is_in_row_order_of_the_statements():
    table = build_labels(database([{"ASMI": 100, "CLBBB": 100}, {"SR": 0}]), statements(), "subdiagnostic")
    assert table.classes == ["STTC", "NORM", "IMI", "AMI", "LVH", "LAFB/LPFB", "ISC_", "CLBBB"]
    assert table.rows.tolist() == [0]
    assert names(table, 0) == {"AMI", "CLBBB"}


@pytest.mark.parametrize(
    ("task", "classes", "first"),
    [
        ("diagnostic", ["NDT", "NORM", "IMI", "ASMI", "LVH", "LAFB", "ISC_", "CLBBB"], {"NDT"}),
        ("form", ["NDT", "ABQRS", "PVC"], {"NDT", "PVC"}),
        ("rhythm", ["SR", "AFIB"], {"SR"}),
        ("all", list(STATEMENTS), {"NDT", "PVC", "SR"}),
        ("proto_rhythm", list(RHYTHM), {"SR"}),
        ("proto_morphology", list(MORPHOLOGY), {"NDT", "PVC"}),
    ],
)
def test_statement_label_sets_select_labeled_records_or_keep_all(task, classes, first):
    table = build_labels(database([{"NDT": 100, "PVC": 0, "SR": 0}, {}]), statements(), task)
    assert table.classes == classes
    assert names(table, 0) == first
    selects = task in ("diagnostic", "form", "rhythm")
    assert table.rows.tolist() == ([0] if selects else [0, 1])
    kept = build_labels(
        database([{"NDT": 100, "PVC": 0, "SR": 0}, {}]), statements(), task, keep_unlabeled=True
    )
    assert kept.rows.tolist() == [0, 1] and not kept.values[1].any()


def test_min_likelihood_is_inclusive_and_spares_form_and_rhythm():
    codes = [{"NORM": 80, "LAFB": 50, "IMI": 0, "PVC": 0, "SR": 0}]
    expected = {0: {"NORM", "LAFB", "IMI"}, 50: {"NORM", "LAFB"}, 51: {"NORM"}, 80: {"NORM"}}
    for threshold, diagnostic in expected.items():
        table = build_labels(database(codes), statements(), "all", threshold)
        assert names(table, 0) == diagnostic | {"PVC", "SR"}
    with pytest.raises(DataError, match="no record has a label of task superdiagnostic"):
        build_labels(database(codes), statements(), min_likelihood=100)
    for wrong in (-1, 101, float("nan")):
        with pytest.raises(UsageError, match="0 to 100"):
            build_labels(database(codes), statements(), min_likelihood=wrong)


def test_groups_partition_the_71_statements():
    assert [len(group) for group in (RHYTHM, MORPHOLOGY, GLOBAL)] == [16, 52, 3]
    assert len(set(RHYTHM + MORPHOLOGY + GLOBAL)) == 71
    assert set(PROTO_GROUPS) <= set(list_targets("ptbxl"))
    assert [find_targets(alias).name for alias in ("1", "3", "4")] == list(PROTO_GROUPS)
    with pytest.raises(UsageError, match="unknown task '2' of ptbxl"):
        find_targets("2")


def test_target_sets_name_their_kind_and_database():
    for database in ("ptbxl", "synthetic"):
        exclusive = [name for name in list_targets(database) if not find_targets(name, database).multilabel]
        assert exclusive == ["mi", "mi_reference"]
    with pytest.raises(
        UsageError, match="unknown task 'superdiagnostc' of ptbxl: did you mean 'superdiagnostic'"
    ):
        find_targets("superdiagnostc")
    with pytest.raises(UsageError, match="no task is registered for the database 'nosuchdb'"):
        find_targets("superdiagnostic", "nosuchdb")


def test_target_sets_of_other_modules_are_found_and_cannot_take_a_name(monkeypatch):
    def build(database, options):
        return Targets(np.arange(2), np.eye(2, dtype=np.uint8), ["a", "b"])

    made = register_targets("toy", kind="multilabel", build=build, databases=["ptbxl"], alias=["t"])
    try:
        assert find_targets("t") is made and "toy" in list_targets("ptbxl")
        assert "toy" not in list_targets("synthetic")
        with pytest.raises(
            UsageError, match=r"two modules register .* 'ptbxl/form': preprocessing.targets.ptbxl"
        ):
            register_targets("form", kind="multilabel", build=build, databases=["ptbxl"])
    finally:
        for name in ("toy", "t"):
            registry._SETS.remove(f"ptbxl/{name}")


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("diagnostic", (17084, 2146, 2158)),
        ("form", (7197, 901, 880)),
        ("rhythm", (16832, 2100, 2098)),
        ("superdiagnostic", (17084, 2146, 2158)),
        ("all", (17418, 2183, 2198)),
        ("proto_global", (17418, 2183, 2198)),
    ],
)
def test_counts_of_label_sets_are_the_benchmarks(whole_ptbxl, task, counts):
    """Strodthoff et al. select the records of each label set; release 1.0.3."""
    dataset = load_ptbxl(whole_ptbxl, task)
    assert tuple((dataset.splits == split).sum() for split in ("train", "val", "test")) == counts
    table = read_database(whole_ptbxl)
    kept = build_labels(table, read_statements(whole_ptbxl), task, keep_unlabeled=True)
    assert len(kept.rows) == 21799


MI_CASES = [
    ({"ASMI": 100}, "ASMI"),
    ({"IMI": 80, "SR": 0}, "IMI"),
    ({"ASMI": 0}, "ASMI"),  # no likelihood given
    ({"ASMI": 50}, None),  # uncertain
    ({"ASMI": 100, "IMI": 100}, None),  # two classes
    ({"ASMI": 100, "IMI": 35}, "ASMI"),  # the uncertain one does not count
    ({"NORM": 100}, "NORM"),
    ({"NORM": 80}, None),
    ({"NORM": 100, "ASMI": 50}, None),  # normal, but perhaps an infarction
    ({"NORM": 100, "IMI": 100}, None),  # contradicts itself
    ({"NORM": 50, "IMI": 100}, "IMI"),
    ({"LAFB": 100}, None),
]


@pytest.mark.parametrize(("codes", "expected"), MI_CASES)
def test_mi_classes_exclude_each_other(codes, expected):
    table = build_labels(database([codes, {"NORM": 100}]), statements(), "mi")
    assert table.classes == ["ASMI", "IMI", "NORM"]
    found = names(table, 0) if 0 in table.rows else None
    assert found == ({expected} if expected else None)
    assert (table.values.sum(axis=1) == 1).all()


def test_mi_keeps_every_certain_record():
    codes = [{"ASMI": 100}, {"IMI": 100}, {"NORM": 100}] * 10
    folds = [fold for fold in FOLDS for _ in range(3)]
    table = build_labels(database(codes, folds), statements(), "mi")
    assert table.rows.tolist() == list(range(30))
    assert table.splits is None
    with pytest.raises(UsageError, match="exactly one class per record: leave out keep_unlabeled"):
        build_labels(database(codes, folds), statements(), "mi", keep_unlabeled=True)
    assert build_labels(database(codes, folds), statements(), "mi", 80).rows.size == 30
    assert build_labels(database([{"ASMI": 0}, {"IMI": 100}]), statements(), "mi", 80).rows.tolist() == [1]
    # no threshold makes a record with both codes a certain one
    both = [{"ASMI": 0, "IMI": 100}, {"ASMI": 100, "IMI": 80}, {"IMI": 100}]
    assert build_labels(database(both), statements(), "mi", 100).rows.tolist() == [2]


def test_mi_reference_repeats_the_published_selection():
    codes = [{"NORM": 100}] * 3000 + [{"ASMI": 100}, {"IMI": 50}, {"IMI": 80}, {"NORM": 100, "ASMI": 0}]
    folds = [1 + k % 3 for k in range(3000)] + [9, 8, 8, 3]
    table = build_labels(database(codes, folds), statements(), "mi_reference")
    chosen = pd.DataFrame(table.values, columns=table.classes).assign(split=table.splits, row=table.rows)
    counts = chosen.groupby("split")[table.classes].sum()
    assert counts.loc["train"].to_dict() == {"ASMI": 1, "IMI": 1, "NORM": 900}
    assert counts.loc["test"].to_dict() == {"ASMI": 1, "IMI": 0, "NORM": 200}
    assert list(counts.index) == ["test", "train"]  # no validation split
    normal = np.array(folds)[chosen["row"][chosen["NORM"] == 1]]
    assert set(normal[chosen["split"][chosen["NORM"] == 1] == "train"]) == {1, 2}
    assert set(normal[chosen["split"][chosen["NORM"] == 1] == "test"]) == {3}
    assert chosen["row"][chosen["NORM"] == 1].tolist() == sorted(chosen["row"][chosen["NORM"] == 1])
    few = build_labels(database([{"NORM": 100, "IMI": 0}], [3]), statements(), "mi_reference")
    assert few.rows.tolist() == [
        0,
        0,
    ]  # it is both, once in training and once in the test, as in the reference
    assert sorted(few.splits) == ["test", "train"]
    with pytest.raises(UsageError, match="own likelihood rule"):
        build_labels(database(codes, folds), statements(), "mi_reference", 50)


def test_codes_without_a_definition_are_named():
    with pytest.raises(DataError, match=r"uses 2 codes .*XYZ \(ecg_id 2\), ABC \(ecg_id 3\)"):
        build_labels(database([{"NORM": 100}, {"XYZ": 0}, {"ABC": 0, "XYZ": 0}]), statements())


@given(
    st.lists(
        st.dictionaries(st.sampled_from(list(STATEMENTS)), st.sampled_from([0, 15, 35, 50, 80, 100])),
        min_size=1,
    )
)
def test_labels_of_any_table_are_consistent(codes):
    table = build_labels(database([*codes, {"NORM": 100, "PVC": 0, "SR": 0}]), statements(), "all")
    for row, present in enumerate(codes):
        assert names(table, row) == set(present)
    grouped = build_labels(database([*codes, {"NORM": 100}]), statements())
    classes = [{STATEMENTS[c][3] for c in present if STATEMENTS[c][3]} for present in [*codes, {"NORM": 100}]]
    assert [names(grouped, i) for i in range(len(grouped.rows))] == [c for c in classes if c]


@given(st.dictionaries(st.sampled_from(list(STATEMENTS)), st.floats(0, 100)))
def test_scp_codes_round_trip(codes):
    parse_scp_codes(repr(codes), 1).clear()  # the result is the caller's own
    assert parse_scp_codes(repr(codes), 1) == codes
