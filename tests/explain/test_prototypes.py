"""Reports, tables and the gallery of ProtoECGNet's explanations, and the commands that write them."""

import base64
import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import explain.prototypes.explain
import inference
from explain.prototypes.contributions import explain_records
from explain.prototypes.explain import COLUMNS, RowMaker, explain_split
from explain.prototypes.gallery import thumbnail, write_gallery
from explain.prototypes.report import write_report
from explain.prototypes.source_records import find_source_reader, source_reader
from preprocessing import load_ptbxl
from tests.helpers.prototype_files import BRANCH_CLASSES, write_prototypes
from tests.helpers.ptbxl_files import small_ecg, write_record, write_small_ptbxl
from tests.helpers.training_files import call
from training import load_predictor
from utils.errors import DataError, UsageError
from utils.plotting.windows import view_of

ROOT = Path(__file__).resolve().parents[2]
NOTICE = "Not a medical device"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return write_small_ptbxl(tmp_path_factory.mktemp("data"), 40, seconds=5)


@pytest.fixture(scope="module")
def data(database, tmp_path_factory):
    return load_ptbxl(database, task="all", cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    """An output folder with a chain ``proto``: fusion, and two stages of the morphology branch."""
    folder = tmp_path_factory.mktemp("out")
    write_prototypes(folder / "checkpoints/proto/fusion", data)
    write_prototypes(folder / "checkpoints/proto/morphology/classifier", data, "morphology")
    write_prototypes(folder / "checkpoints/proto/morphology/joint", data, "morphology", prototypes=[])
    return folder


@pytest.fixture(scope="module")
def fusion(out):
    return load_predictor("proto", out)


def no_outside(page: str) -> None:
    """Nothing is loaded from elsewhere, by any element or style."""
    assert not re.search(r"https?://|//[a-z]+\.|@import|<link|<iframe|url\((?!#grid)", page)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)', page))


def test_report_of_a_record(fusion, data, database, tmp_path):
    row = 3
    two = explain_records(fusion, data.signals[row : row + 1])[0].predicted[:2]
    (explanation,) = explain_records(fusion, data.signals[row : row + 1], top=2, classes=two)
    read = source_reader(database, 100)
    files = write_report(fusion, explanation, data.signals[row], tmp_path, "4", read, ["LVH", "SR"])
    assert [f.name for f in files] == ["explanation.html", "ecg.png", "pictures"]
    page = files[0].read_text(encoding="utf-8")
    no_outside(page)
    assert page.count(NOTICE) == 3 + len(explanation.classes) and "<script" not in page
    assert "True labels of this ECG: LVH, SR." in page
    images = set(re.findall(r"base64,([^\"]+)", page))
    pngs = [files[1], *files[2].iterdir()]
    assert images == {base64.b64encode(p.read_bytes()).decode() for p in pngs}
    for png in pngs:
        assert png.stat().st_size < 150_000
        with Image.open(png) as picture:
            assert picture.size[0] > 500
    for part in explanation.classes:
        assert f"{part.name}: probability {part.probability:.3f}, predicted" in page
        assert f"sum = logit of {part.name}</td>" in page and f"{part.logit:+.4f}" in page
        assert f">{part.bias:+.4f}</td>" in page and f">{part.rest:+.4f}</td>" in page
        for e in part.evidence:
            assert f"Prototype: training ECG {e.source['ecg_id']}, " in page
            assert f"= {e.contribution:+.4f}" in page and f"Similarity {e.similarity:.3f}" in page
            assert (files[2] / f"prototype_{e.prototype:04d}.png").exists()
            first, last = (t / 1000 for t in e.receptive_field_ms)
            where = f"(receptive field): {first:.2f}–{last:.2f} s"
            assert ("Compared as whole records" if e.branch != "morphology" else where) in page
    again = write_report(fusion, explanation, data.signals[row], tmp_path / "2", "4", read, ["LVH", "SR"])
    assert again[0].read_bytes() == files[0].read_bytes()


def test_report_without_the_ecgs_of_prototypes(fusion, data, tmp_path):
    (explanation,) = explain_records(fusion, data.signals[:1], top=2, classes=["NORM"])
    page = write_report(fusion, explanation, data.signals[0], tmp_path, "x")[0].read_text()
    assert "To see it, give the folder of PTB-XL: --data_dir FOLDER." in page
    assert {p.name[:5] for p in (tmp_path / "pictures").iterdir()} == {"here_"}
    best = explanation.classes[0].evidence[0]
    assert f"training ECG {best.source['ecg_id']}, " in page and NOTICE in page
    absent = write_report(fusion, explanation, data.signals[0], tmp_path, "x", lambda ecg_id: None)
    page = absent[0].read_text()
    assert "This copy of PTB-XL lacks the record." in page


def test_pages_escape_labels(out, data, database, tmp_path):
    evil = '<script>alert("x")</script>&'
    predictor = load_predictor("proto", out)
    predictor.classes[0] = evil
    for entry in predictor.card.extra["prototypes"]:
        entry["true_labels"], entry["classes"] = [evil], [evil]
    read = source_reader(database, 100)
    (explanation,) = explain_records(predictor, data.signals[:1], top=1, classes=[evil])
    report = write_report(predictor, explanation, data.signals[0], tmp_path, evil, read, [evil])[0]
    gallery = write_gallery(predictor, None, tmp_path / "gallery.html")
    for path, scripts in ((report, 0), (gallery, 3)):
        page = path.read_text()
        assert page.count("<script") == scripts and "alert(" in page
        assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&amp;" in page
    facts = re.search(r'id="facts">(.*?)</script>', gallery.read_text(), re.S)[1]
    assert json.loads(facts)["cards"]["0"]["classes"] == evil


def test_pages_of_a_prototype_without_a_source(out, data, tmp_path):
    predictor = load_predictor("proto/morphology/classifier", out)
    empty = {"ecg_id": None, "window": None, "start_ms": None, "end_ms": None, "receptive_field_ms": None}
    for entry in predictor.card.extra["prototypes"]:
        entry |= empty | {"similarity": None, "true_labels": []}
    (explanation,) = explain_records(predictor, data.signals[:1], top=1)
    page = write_report(predictor, explanation, data.signals[0], tmp_path, "x")[0].read_text()
    assert "This prototype has no training ECG." in page
    gallery = write_gallery(predictor, None, tmp_path / "gallery.html").read_text()
    assert "no training ECG, as its class had none" in gallery
    row = RowMaker(predictor).row(1, explanation)
    assert json.loads(row["top_protos_2d_partial"])[0]["ecg_id"] is None


def test_report_notes_pooled_windows(data, tmp_path):
    folder = write_prototypes(tmp_path / "m", data, "morphology", model={"pooling": "mean"})
    predictor = load_predictor(folder)
    (explanation,) = explain_records(predictor, data.signals[:1], top=1)
    page = write_report(predictor, explanation, data.signals[0], tmp_path, "x")[0].read_text()
    assert "scores a prototype by several windows" in page


def test_report_without_a_predicted_class(data, tmp_path):
    predictor = load_predictor(write_prototypes(tmp_path / "m", data, "rhythm", thresholds=[1.0, 1.0]))
    (explanation,) = explain_records(predictor, data.signals[:1], top=1)
    page = write_report(predictor, explanation, data.signals[0], tmp_path, "x")[0].read_text()
    assert "No class reaches its threshold; the most probable one is explained." in page
    assert "not predicted: its threshold is not reached" in page
    row = RowMaker(predictor).row(1, explanation)
    assert row["fusion_predictions"] == "{}" and not json.loads(row["top_protos_by_class"])[0]["predicted"]


spans = st.tuples(st.floats(0, 9000), st.floats(10, 1000), st.floats(0, 4000), st.floats(0, 4000))


@given(spans, st.floats(2000, 30000))
def test_picture_shows_window_and_receptive_field(numbers, duration):
    start, length, before, after = numbers
    span = min(start, duration - length), min(start, duration - length) + length
    field = max(0, span[0] - before), min(duration, span[1] + after)
    first, last = view_of(span, field, duration)
    assert 0 <= first <= field[0] + 1e-6 and field[1] - 1e-6 <= last <= duration
    assert last - first >= min(5000, duration) - 1e-6


def read_rows(path):
    csv.field_size_limit(10**8)
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_explain_split_writes_a_table_and_reports(fusion, data, database, tmp_path):
    test = data.split("test")
    files = explain_split(fusion, test, tmp_path, count=3, pictures=1, data_dir=database, top=2, batch_size=2)
    ids = [int(i) for i in test.ecg_ids[:3]]
    assert files == [tmp_path / "explanations.csv", tmp_path / str(ids[0]) / "explanation.html"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["explanations.csv", str(ids[0])])
    rows = read_rows(files[0])
    assert tuple(rows[0]) == COLUMNS == (
        *["ecg_id", "fusion_predictions", "true_labels"],
        *["1d_true_labels", "2d_partial_true_labels", "2d_global_true_labels"],
        *["top_protos_1d", "top_protos_2d_partial", "top_protos_2d_global", "top_protos_by_class"],
    )  # fmt: skip
    assert [int(row["ecg_id"]) for row in rows] == ids
    probabilities = fusion.predict(test.signals[:3])
    for k, row in enumerate(rows):
        row = {name: json.loads(value) for name, value in row.items()}
        true = [n for n, yes in zip(test.classes, test.labels[k], strict=True) if yes]
        assert row["true_labels"] == true
        for branch, column in (("rhythm", "1d"), ("morphology", "2d_partial"), ("global", "2d_global")):
            assert row[f"{column}_true_labels"] == [t for t in true if t in BRANCH_CLASSES[branch]]
            best = row[f"top_protos_{column}"]
            assert len(best) == 2 and best[0]["similarity"] >= best[1]["similarity"]
            for entry in best:
                source = fusion.card.extra["prototypes"][entry["prototype_num"]]
                assert source["branch"] == branch and entry["ecg_id"] == source["ecg_id"]
                assert entry["prototype_class"] == source["classes"][0]
                assert entry["all_true_labels"] == source["true_labels"]
                assert set(entry["branch_true_labels"]) <= set(BRANCH_CLASSES[branch])
        expected = {
            n: pytest.approx(p, abs=1e-4)
            for n, p in zip(fusion.classes, probabilities[k], strict=True)
            if p >= 0.5
        }
        assert row["fusion_predictions"] == expected
        assert {part["predicted_class"] for part in row["top_protos_by_class"]} == set(expected)
        for part in row["top_protos_by_class"]:
            terms = [e["contribution"] for e in part["top_protos"]]
            assert part["bias"] + sum(terms) + part["rest"] == pytest.approx(part["logit"], abs=2e-4)
            assert {e["group"] for e in part["top_protos"]} <= {"1", "3", "4"}
            for e in part["top_protos"]:
                product = e["weight"] * e["standardized_similarity"]
                assert product == pytest.approx(e["contribution"], abs=1e-4)


def test_explanation_row_of_a_single_branch(out, data, tmp_path):
    predictor = load_predictor("proto/morphology/classifier", out)
    (explanation,) = explain_records(predictor, data.signals[:1])
    row = RowMaker(predictor).row(17, explanation, ["IMI", "SR"])
    filled = {name for name, value in row.items() if value != ""}
    assert set(COLUMNS) - filled == {
        *["1d_true_labels", "2d_global_true_labels", "top_protos_1d", "top_protos_2d_global"]
    }
    assert json.loads(row["2d_partial_true_labels"]) == ["IMI"]
    unlabeled = RowMaker(predictor).row("own", explanation)
    assert unlabeled["true_labels"] == "" == unlabeled["2d_partial_true_labels"]


def test_explain_split_of_all_records(fusion, data, tmp_path):
    test = data.split("test")
    (table,) = explain_split(fusion, test, tmp_path, count=-1, pictures=0)
    assert [int(row["ecg_id"]) for row in read_rows(table)] == test.ecg_ids.tolist()


def test_explain_split_keeps_finished_reports_after_ctrl_c(fusion, data, tmp_path, monkeypatch):
    write = write_report

    def interrupted(*arguments, **named):
        if len(list(tmp_path.glob("*/explanation.html"))) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return write(*arguments, **named)

    monkeypatch.setattr(explain.prototypes.explain, "write_report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explain_split(fusion, data.split("test"), tmp_path, count=4, pictures=-1, top=1)
    assert len(read_rows(tmp_path / "explanations.csv")) == 4
    assert len(list(tmp_path.glob("*/explanation.html"))) == 1


def test_explain_split_refuses_bad_arguments(fusion, data, database, tmp_path):
    test = data.split("test")
    with pytest.raises(UsageError, match="records to explain must be -1"):
        explain_split(fusion, test, tmp_path, count=-2)
    with pytest.raises(UsageError, match="but the data has"):
        explain_split(fusion, load_ptbxl(database, task="rhythm", cache_dir=tmp_path).split("test"), tmp_path)
    assert not list(tmp_path.glob("*.csv"))


def test_gallery_shows_every_prototype(fusion, database, tmp_path):
    path = write_gallery(fusion, source_reader(database, 100), tmp_path / "gallery.html")
    page = path.read_text(encoding="utf-8")
    no_outside(page)
    assert page.count(NOTICE) >= 2
    cards = re.findall(r'<div class="card" data-card="(\d+)">(.*?)</textarea>', page, re.S)
    assert [int(number) for number, _ in cards] == list(range(24))
    weights = fusion.model.head.weight.detach().numpy()
    for (_, card), entry in zip(cards, fusion.card.extra["prototypes"], strict=True):
        weight = weights[fusion.classes.index(entry["classes"][0]), entry["index"]]
        assert f"training ECG {entry['ecg_id']}, " in card and ", ".join(entry["true_labels"]) in card
        assert f"weight {entry['classes'][0]} {float(weight):+.3f}" in card
        leads = 12 if entry["branch"] == "morphology" else 2
        assert card.count("<svg") == 1 and card.count("<text ") == leads
        names = re.findall(r'data-field="(\w+)"', card)
        assert names == ["representativeness", "clarity", "best", "bad", "comment"]
    for anchor in re.findall(r'href="#(class[\d-]+)"', page):
        assert page.count(f'id="{anchor}"') == 1
    script = page[page.index("<script>") :]
    assert "localStorage.setItem(facts.key" in script
    assert not re.search(r"fetch|XMLHttpRequest|sendBeacon|WebSocket|innerHTML|eval", script)
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', page, re.S)[1])
    assert facts["key"].endswith(fusion.card.weights_sha256) and len(facts["cards"]) == 24
    assert facts["file"] == "prototype_ratings.csv"


def test_gallery_without_ecgs(fusion, tmp_path):
    page = write_gallery(fusion, None, tmp_path / "gallery.html").read_text()
    assert "--data_dir FOLDER" in page and page.count("<svg") == 1  # the grid alone
    page = write_gallery(fusion, lambda ecg_id: None, tmp_path / "gallery.html").read_text()
    assert page.count("Its ECG is not in the data folder.") == 24


@pytest.mark.parametrize("span", [(0, 960), (2000, 2960), (4040, 5000), (0, 5000)])
def test_thumbnail_is_the_signal(data, span):
    signals = data.signals[0]
    drawn = thumbnail(signals, 100, *span)
    width, height = drawn["width"], drawn["height"]
    leads = [1, 6] if span == (0, 5000) else [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    first, last = max(0, span[0] // 10 - 25), min(500, span[1] // 10 + 25)
    pieces = drawn["trace"].split("M")[1:]
    assert len(pieces) == len(leads)
    for piece, lead in zip(pieces, leads, strict=True):
        numbers = np.array([int(n) for n in re.findall(r"-?\d+", piece)]).reshape(-1, 2).cumsum(axis=0)
        assert (numbers >= 0).all() and numbers[:, 0].max() <= width and numbers[:, 1].max() <= height
        expected = signals[first:last, lead]
        assert len(numbers) == len(expected)
        np.testing.assert_array_equal(np.diff(numbers[:, 0]), 5)  # 0.01 s is a quarter of a millimeter
        shown = -(numbers[:, 1] - np.median(numbers[:, 1])) / 200
        np.testing.assert_allclose(shown, expected - np.median(expected), atol=0.01)


def test_source_reader_finds_the_data(fusion, database, monkeypatch):
    monkeypatch.setitem(fusion.card.config, "data_dir", "nowhere")
    assert find_source_reader(fusion) is None
    monkeypatch.setitem(fusion.card.config, "data_dir", str(database))
    assert find_source_reader(fusion)(1).shape == (500, 12)
    with pytest.raises(DataError, match="nowhere does not exist"):
        find_source_reader(fusion, "nowhere")


def ask(out, source, *words):
    return call(inference.main, "inference.py", "--dir", source, "--output_dir", out, *words)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A record whose limb leads agree with each other."""
    samples = small_ecg(np.random.default_rng(3), 500, 100)
    samples[:, :2] -= samples[:, :2] % 2  # even, so that halves are whole
    one, two = samples[:, 0].copy(), samples[:, 1].copy()
    samples[:, 2:6] = np.column_stack([two - one, -(one + two) // 2, one - two // 2, two - one // 2])
    path = tmp_path_factory.mktemp("own") / "mine"
    write_record(path, samples, 100)
    return path


def test_inference_explains_by_prototypes(out, database, record):
    command = [sys.executable, "inference.py", "--model", "proto", "--dir", record, "--output_dir", out]
    words = [*map(str, command), "--data_dir", str(database)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert NOTICE in done.stdout and "explanation.html" in done.stdout and "Traceback" not in done.stderr
    (folder,) = {p.parent for p in (out / "results").rglob("mine/explanation.html")}
    assert {p.name for p in folder.iterdir()} == {
        *["prediction.json", "explanation.html", "explanation.npz", "ecg.png", "pictures", "settings.yaml"]
    }
    assert list((folder / "pictures").glob("prototype*.png"))
    prediction = json.loads((folder / "prediction.json").read_text())
    positive = {c["class"] for c in prediction["classes"] if c["positive"]}
    assert positive == {part["class"] for part in prediction["explanation"]}
    with np.load(folder / "explanation.npz", allow_pickle=False) as arrays:
        assert set(arrays["explained"]) == positive
        assert arrays["similarities"].shape == (24,) and arrays["contributions"].shape == (len(positive), 24)
        total = arrays["bias"] + arrays["contributions"].sum(axis=1)
        np.testing.assert_allclose(total, arrays["logits"], atol=1e-4)
    for part in prediction["explanation"]:
        total = part["bias"] + sum(e["contribution"] for e in part["evidence"]) + part["rest"]
        assert total == pytest.approx(part["logit"], abs=1e-4)


def test_inference_says_what_is_missing(out, record, tmp_path):
    with pytest.raises(UsageError, match="--training_stage projection"):
        ask(out, record, "--model", "proto/morphology/joint")
    assert ask(out, record, "--model", "proto/morphology/joint", "--no_pictures") == 0
    with pytest.raises(DataError, match="is not a PTB-XL folder"):
        ask(out, record, "--model", "proto", "--data_dir", tmp_path)
