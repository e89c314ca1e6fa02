"""Windows, their ground truth and their file."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.engine.selection import select_windows
from preprocessing.signals import ScaledSignals
from preprocessing.targets.beats import AAMI_SYMBOLS, REFERENCE_SYMBOLS, beat_spans, classify, window_label
from preprocessing.targets.regions import beat_intervals, ground_truth_mask
from preprocessing.windows import Beats, Regions, Windows, load_windows, save_windows
from tests.helpers.window_files import tiny_windows
from utils.errors import DataError, UsageError

# Beats of windows of 2880 samples (N, SVEB, VEB) and the spans that the reference's own code gives them.
GOLDEN = [
    (
        ([103, 393, 693, 994, 1286, 1840, 2123, 2684], [1514, 2338], []),
        (
            [
                *((0, 248), (248, 543), (543, 843), (843, 1140), (1140, 1400)),
                *((1677, 1981), (1981, 2230), (2511, 2880)),
            ],
            [(1400, 1677), (2230, 2511)],
            [],
        ),
    ),
    (
        ([154, 1018, 1303, 1603, 1914, 2487, 2771], [377, 629, 2146], []),
        (
            [(0, 265), (823, 1160), (1160, 1453), (1453, 1758), (1758, 2030), (2316, 2629), (2629, 2880)],
            [(265, 503), (503, 823), (2030, 2316)],
            [],
        ),
    ),
    (
        ([127, 423, 710, 983, 1274, 1555, 1835, 2129, 2725], [], [2356]),
        (
            [
                *((0, 275), (275, 566), (566, 846), (846, 1128), (1128, 1414)),
                *((1414, 1695), (1695, 1982), (1982, 2242), (2540, 2880)),
            ],
            [],
            [(2242, 2540)],
        ),
    ),
]
PLACES = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 4)), min_size=1, max_size=12)


@pytest.mark.parametrize(("beats", "spans"), GOLDEN)
def test_spans_are_the_references(beats, spans):
    samples = np.concatenate([np.array(places, dtype=int) for places in beats])
    classes = np.repeat([0, 1, 2], [len(places) for places in beats])
    found = beat_spans(samples, classes, 2880)
    for index, expected in enumerate(spans):
        assert [(start, stop) for start, stop, cls in found if cls == index] == expected


def test_windows_equal_those_of_the_reference(shared_data):
    path = shared_data.parent / "goldens" / "attr_goldens.json"
    if not path.exists():
        pytest.skip(f"no goldens at {path}")
    goldens = json.loads(path.read_text())
    arrays = np.load(path.with_suffix(".npz"))
    masks = np.unpackbits(arrays["s"], axis=1)[:, :2880].astype(bool)
    for y_raw, spans, y, expected in zip(
        goldens["y_raw"], goldens["beat_spans"], arrays["y"], masks, strict=True
    ):
        samples = [sample for places in y_raw for sample in places]
        classes = [index for index, places in enumerate(y_raw) for _ in places]
        windows = dataclasses.replace(
            tiny_windows().take([0]),
            signals=np.zeros((1, 2880, 1)),
            beats=Beats(np.zeros(len(samples), int), samples, classes),
        )
        assert list(beat_intervals(windows, 0).values()) == [
            [tuple(s) for s in places] for places in list(spans.values())
        ]
        np.testing.assert_array_equal(ground_truth_mask(windows, 0, int(y), "beats")[:, 0], expected)
        assert window_label(np.array(classes)) == y


@given(PLACES)
def test_spans_divide_the_window(places):
    samples, classes = zip(*places, strict=True)
    spans = beat_spans(samples, classes, 100)
    edges = [0, *(stop for _, stop, _ in spans)]
    assert [start for start, _, _ in spans] == edges[:-1]
    assert edges[-1] == 100
    assert edges == sorted(edges)
    highest = {sample: max(c for s, c in places if s == sample) for sample in samples}
    assert [cls for _, _, cls in spans] == [highest[sample] for sample in sorted(highest)]
    for sample, (start, stop, _) in zip(sorted(highest), spans, strict=True):
        assert start <= sample <= stop  # neighbors one sample apart leave the first nothing


def test_spans_need_beats():
    assert beat_spans([], [], 100) == []


@pytest.mark.parametrize(
    ("classes", "label"),
    [([0, 0, 1], 1), ([0, 1, 2, 2], 2), ([2, 1], 1), ([0, 0], 0), ([], 0), ([4, 4, 1], 4), ([3, 4], 3)],
)
def test_label_is_the_most_frequent_class_but_n(classes, label):
    assert window_label(np.array(classes, dtype=int)) == label


def test_symbols():
    symbols = list("N+BnrQ?~|x!/")
    kept, classes = classify(symbols, AAMI_SYMBOLS)
    assert kept.tolist() == [0, 2, 3, 4, 5, 6, 11]  # marks of rhythm, noise and flutter are not beats
    assert classes.tolist() == [0, 0, 1, 2, 4, 4, 4]
    kept, classes = classify(symbols, REFERENCE_SYMBOLS, default=0)
    assert kept.tolist() == list(range(12))  # there, everything is
    assert classes.tolist() == [0] * 11 + [4]
    assert [part.tolist() for part in classify([], AAMI_SYMBOLS)] == [[], []]


def test_mask_of_beats():
    windows = tiny_windows()
    assert beat_intervals(windows, 1) == {"N": [(0, 20)], "SVEB": [(20, 40)], "VEB": [], "F": []}
    mask = ground_truth_mask(windows, 1, 1, "beats")
    assert mask.shape == (40, 1) and mask.dtype == bool
    np.testing.assert_array_equal(np.flatnonzero(mask), np.arange(20, 40))
    assert not ground_truth_mask(windows, 1, 2, "beats").any()
    assert not ground_truth_mask(windows, 3, 0, "beats").any()  # a window without a beat
    other = dataclasses.replace(windows, beats=Beats([1, 1], [10, 30], [0, 4]))
    assert beat_intervals(other, 1)["N"] == [(0, 20)]  # a beat of no class cuts, and owns nothing
    assert sum(map(len, beat_intervals(other, 1).values())) == 1


def two_leads() -> Windows:
    regions = Regions(
        window=[1, 0, 0, 0],
        cls=[0, 1, -1, -1],
        lead=[-1, 0, 1, 1],
        start=[0, 2, 5, 9],
        stop=[3, 4, 6, 12],
        kind=["planted", "planted", "T", "P"],
    )
    return Windows(
        signals=ScaledSignals(np.arange(80, dtype=np.int16).reshape(2, 20, 2)),
        targets=[[0, 1], [1, 1]],
        classes=["A", "B"],
        leads=("I", "II"),
        sampling_rate=100,
        name="x",
        ids=["1", "2"],
        patients=["1", "2"],
        starts=[0, 0],
        splits=["train", "test"],
        kind="multilabel",
        regions=regions,
        ground_truths=("planted", "P", "QRS", "T"),
    )


def test_mask_of_regions():
    windows = two_leads()
    assert np.argwhere(ground_truth_mask(windows, 0, 1, "planted")).tolist() == [[2, 0], [3, 0]]
    assert not ground_truth_mask(windows, 0, 0, "planted").any()
    assert np.argwhere(ground_truth_mask(windows, 1, 0, "planted")).tolist() == [
        [t, c] for t in range(3) for c in (0, 1)
    ]
    for target in (0, 1):  # a wave is there whatever is explained
        assert np.argwhere(ground_truth_mask(windows, 0, target, "T")).tolist() == [[5, 1]]
        assert np.argwhere(ground_truth_mask(windows, 0, target, "P")).tolist() == [[9, 1], [10, 1], [11, 1]]
        assert not ground_truth_mask(windows, 0, target, "QRS").any()
    assert dataclasses.replace(windows, ground_truths=()).ground_truths == ("P", "T", "planted")


def test_mask_refuses():
    windows = tiny_windows()
    with pytest.raises(UsageError, match="no ground truth 'beat': did you mean 'beats'"):
        ground_truth_mask(windows, 0, 1, "beat")
    with pytest.raises(UsageError, match="target 4"):
        ground_truth_mask(windows, 0, 4, "beats")
    with pytest.raises(UsageError, match="no window 6"):
        ground_truth_mask(windows, 6, 1, "beats")
    with pytest.raises(UsageError, match="no window -1"):
        beat_intervals(windows, -1)
    with pytest.raises(UsageError, match="no beats"):
        beat_intervals(two_leads(), 0)


def test_select_takes_the_ground_truth_along():
    windows = tiny_windows()
    chosen = windows.take([5, 1, 1])
    assert chosen.ids.tolist() == ["203", "100", "100"]
    assert chosen.starts.tolist() == [40, 40, 40]
    for row, old in enumerate([5, 1, 1]):
        assert beat_intervals(chosen, row) == beat_intervals(windows, old)
        np.testing.assert_array_equal(chosen.signals[row], windows.signals[old])
    assert chosen.fingerprint != windows.fingerprint
    test = windows.split("test")
    assert test.ids.tolist() == ["203", "203"] and beat_intervals(test, 0)["F"] == [(0, 40)]
    assert two_leads().take([1]).ground_truths == ("planted", "P", "QRS", "T")
    assert np.asarray(two_leads().take([1]).signals)[0, 0, 0] == np.float32(0.04)
    with pytest.raises(UsageError, match="unknown split 'tset': did you mean 'test'"):
        windows.split("tset")
    with pytest.raises(UsageError, match="has no val split; it has test"):
        test.split("val")


@pytest.mark.parametrize("make", [tiny_windows, two_leads])
def test_file_gives_back_everything(make, tmp_path):
    windows = make()
    save_windows(windows, tmp_path / "a" / "w.npz")
    again = load_windows(tmp_path / "a" / "w.npz")
    assert again.fingerprint == windows.fingerprint
    np.testing.assert_array_equal(np.asarray(again.signals), np.asarray(windows.signals))
    for name in (
        "classes",
        "leads",
        "ground_truths",
        "settings",
        "normal",
        "kind",
        "name",
        "sampling_rate",
    ):
        assert getattr(again, name) == getattr(windows, name)
    assert isinstance(again.signals, type(windows.signals))
    save_windows(again, tmp_path / "b.npz")
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a" / "w.npz").read_bytes()


def test_fingerprint_sees_every_change():
    base = tiny_windows()
    changes = [
        {"signals": np.asarray(base.signals) + 1e-3},
        {"targets": base.targets[::-1]},
        {"classes": ["N", "SVEB", "VEB", "G"]},
        {"leads": ("II",)},
        {"sampling_rate": 11},
        {"name": "svdb"},
        {"ids": ["1001", "00", "200", "200", "203", "203"]},
        {"patients": ["100", "100", "200", "200", "203", "204"]},
        {"starts": base.starts + 1},
        {"splits": base.splits[::-1]},
        {"kind": "multilabel"},
        {"normal": []},
        {"settings": {"reference": True}},
        {"beats": base.beats._replace(sample=base.beats.sample + 1)},
        {"beats": None},
    ]
    fingerprints = [dataclasses.replace(base, **change).fingerprint for change in changes]
    assert len({base.fingerprint, *fingerprints}) == len(changes) + 1
    assert tiny_windows().fingerprint == base.fingerprint


def test_files_that_are_damaged_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    save_windows(tiny_windows(), path)
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"w\.npz .*attribution\.build"):
            load_windows(path)
    rng = np.random.default_rng(0)
    harmless = 0
    for place in rng.choice(len(whole), 200, replace=False):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            assert load_windows(path).fingerprint == tiny_windows().fingerprint
            harmless += 1
        except DataError:
            pass
    assert harmless < 120  # times and attributes of the archive's entries mean nothing


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_windows(tmp_path / "none.npz")
    with pytest.raises(DataError, match="cannot be read"):
        load_windows(tmp_path)
    np.savez(tmp_path / "other.npz", mean=1.0)
    with pytest.raises(DataError, match="holds no windows"):
        load_windows(tmp_path / "other.npz")
    np.savez(tmp_path / "meta.npz", meta='{"format": "something else"}')
    with pytest.raises(DataError, match="not in the format"):
        load_windows(tmp_path / "meta.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(DataError):
        load_windows(tmp_path / "array.npy")
    (tmp_path / "text.npz").write_text("hello")  # numpy's own message recommends to unpickle it
    with pytest.raises(DataError, match=r"text\.npz .*\(not an \.npz file\): write it"):
        load_windows(tmp_path / "text.npz")
    windows = tiny_windows()
    arrays = dict(np.load(_saved(windows, tmp_path)))
    for change in ({"labels": arrays["labels"][:3]}, {"starts": arrays["starts"] + 1}):
        np.savez(tmp_path / "changed.npz", **(arrays | change))
        with pytest.raises(DataError, match=r"changed\.npz"):
            load_windows(tmp_path / "changed.npz")
    np.savez(tmp_path / "object.npz", **(arrays | {"records": np.array([{}], dtype=object)}))
    with pytest.raises(DataError, match=r"object\.npz"):
        load_windows(tmp_path / "object.npz")


def test_windows_file_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """A file of 0.6 MB whose signals would take 0.6 GB; the size is known from the header alone."""
    path = tmp_path / "bomb.npz"
    shape, length = (150_000, 1000, 2), 2**20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"meta": "{}", "fingerprint": ""}.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.array(text))
        with archive.open("signals.npy", "w", force_zip64=True) as file:
            header = {"descr": "<i2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(6 * 10**8 // length):
                file.write(bytes(length))
            file.write(bytes(6 * 10**8 % length))
    assert path.stat().st_size < 7e5
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DataError, match=r"bomb\.npz .*would take 0\.6 GB, far too much for its size"):
        load_windows(path)


def test_windows_file_with_a_lying_header_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive, archive.open("signals.npy", "w") as file:
        header = {"descr": "<i2", "fortran_order": False, "shape": (10**9, 10**9, 2)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match="does not hold the array that its header describes"):
        load_windows(tmp_path / "short.npz")


def _saved(windows, folder):
    save_windows(windows, folder / "saved.npz")
    return folder / "saved.npz"


def test_windows_that_do_not_fit_together_are_refused():
    base = tiny_windows()
    for change, message in [
        ({"leads": ("I", "II")}, "one column per lead"),
        ({"classes": ["N"]}, "targets are"),
        ({"ids": ["1"]}, "ids is"),
        ({"splits": ["train"] * 5 + ["tests"]}, "unknown split 'tests'"),
        ({"targets": np.zeros((6, 4))}, "exactly one class"),
        ({"beats": Beats([6], [0], [0])}, "beyond"),
        ({"beats": Beats([0, 1], [0], [0])}, "different lengths"),
    ]:
        with pytest.raises(UsageError, match=message):
            dataclasses.replace(base, **change)


def test_windows_are_a_dataset():
    windows = tiny_windows()
    assert (windows.name, windows.kind, windows.multilabel) == ("mitdb", "multiclass", False)
    assert windows.ids.tolist() == windows.patients.tolist() == ["100", "100", "200", "200", "203", "203"]
    assert windows.split("val").starts.tolist() == [0, 40]
    assert windows.labels is windows.targets and windows.records is windows.ids


class Sure:
    """A classifier that gives every window these probabilities."""

    name = "sure"

    def __init__(self, *probabilities: float) -> None:
        self.given = probabilities

    def standardize(self, signals: np.ndarray) -> np.ndarray:
        return signals

    def logits(self, x: np.ndarray, batch: int) -> np.ndarray:
        return np.tile(self.given, (len(x), 1))

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        return logits


def test_classes_that_are_never_predicted_are_named(capsys, caplog):
    caplog.set_level("INFO")
    windows = tiny_windows()  # the test windows are an F and a SVEB
    chosen = select_windows(windows, Sure(0.0, 0.8, 0.0, 0.2), 0.75)
    assert chosen.rows.tolist() == [5] and chosen.targets.tolist() == [1]
    text = capsys.readouterr().out + caplog.text  # the console of a command, or none
    assert "not explained, the probability is never above 0.75; at most: F 0.200 (1 windows)" in text
    assert len(select_windows(windows, Sure(0.0, 0.8, 0.0, 0.9), 0.75).rows) == 2
    assert (capsys.readouterr().out + caplog.text).count("not explained") == bool(caplog.text)
    with pytest.raises(DataError, match=r"the largest: SVEB 0\.100 \(1 windows\), F 0\.200"):
        select_windows(windows, Sure(0.7, 0.1, 0.0, 0.2), 0.75)
    for target in ("²", "4", "f"):
        with pytest.raises(UsageError, match=f"'{target}' is not a class"):
            select_windows(windows, Sure(0.0, 0.8, 0.0, 0.2), 0.75, target)


def test_counts():
    counts = tiny_windows().counts()
    assert counts["train"] == {"records": 2, "patients": 1, "N": 1, "SVEB": 1, "VEB": 0, "F": 0}
    assert list(counts) == ["train", "val", "test"]
    assert list(tiny_windows().split("test").counts()) == ["test"]
