"""Rows of other databases: predictions made small, scores of challenges, and the page."""

import dataclasses

import numpy as np
import pytest

from benchmarks.pages import tasks as page
from benchmarks.rows import DATA
from benchmarks.tasks import further_scores, kept_predictions
from preprocessing.targets import IGNORED
from training.card import Card
from utils.files import read_json


def card_of(kind: str, task: str, database: str, **changes) -> Card:
    path = DATA / "tasks" / "mitdb_rr" / "card.json"
    card = Card.from_json(read_json(path), path)
    provenance = dataclasses.replace(card.provenance, config={**card.config, "database": database})
    inputs = dataclasses.replace(card.inputs, sampling_rate=4)
    outputs = dataclasses.replace(card.outputs, decision=changes.pop("decision", None))
    return dataclasses.replace(
        card, kind=kind, task=task, provenance=provenance, inputs=inputs, outputs=outputs, **changes
    )


def stored(label: np.ndarray, probability: np.ndarray, classes: list[str]) -> dict[str, np.ndarray]:
    ids = np.arange(len(label))
    return {
        "ecg_id": ids, "patient_id": ids // 2, "label": label, "probability": probability,
        "classes": np.array(classes),
    }  # fmt: skip


def test_beats_are_kept_without_what_is_ignored_and_scored_over_three_classes():
    classes = ["N", "SVEB", "VEB", "F"]
    label = np.full((4, 10), IGNORED)
    label[:, 2], label[:, 5], label[:, 8] = 0, 1, 2
    label[0, 9] = 3
    probability = np.eye(4)[np.maximum(label, 0)]
    probability[0, 5] = np.eye(4)[0]  # one SVEB is taken for N
    card = card_of("segmentation", "beats", "mitdb")
    kept = kept_predictions(card, stored(label, probability, classes))
    assert kept["label"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert (
        kept["probability"].dtype == np.float16
        and kept["ecg_id"].tolist() == [0] * 4 + [1] * 3 + [2] * 3 + [3] * 3
    )
    scores = further_scores(card, kept, resamples=50, seed=0)
    assert scores["confusion"] == [[4, 0, 0, 0], [1, 3, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]]
    f1 = {"N": 8 / 9, "SVEB": 6 / 7, "VEB": 1.0}
    assert {name: scores["scored"][name]["value"] for name in f1} == pytest.approx(f1)
    mean = scores["scored"]["mean"]
    assert (
        mean["value"] == pytest.approx(sum(f1.values()) / 3) and mean["low"] < mean["value"] <= mean["high"]
    )


def test_tags_are_kept_once_a_second_where_they_count():
    label = np.zeros((2, 8, 2), np.float16)
    label[..., 1] = 1
    label[0, 4:, 0] = 1
    label[1, 4:, 1] = 0  # behind the end of the record
    kept = kept_predictions(
        card_of("tagging", "af_event", "mitdb"), stored(label, label[..., :1] / 2, ["AF"])
    )
    assert kept["ecg_id"].tolist() == [0, 0, 1] and kept["label"][:, 0].tolist() == [0, 1, 0]


def test_challenge_scores_follow_from_thresholds():
    classes = ["AF", "NSR"]
    label = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
    card = card_of("multilabel", "classes", "cinc2021", decision={"thresholds": [0.3, 0.6]})
    kept = kept_predictions(card, stored(label, label * 0.4 + 0.1, classes))
    score = further_scores(card, kept, resamples=20, seed=0)["challenge"]
    assert score["score"] < 1  # AF is found, NSR is not
    perfect = further_scores(card, {**kept, "probability": label * 0.9}, resamples=20, seed=0)["challenge"]
    assert perfect["score"] == 1


def test_page_says_what_ran_on_how_many_records(tmp_path):
    text = page.page(DATA)
    assert "Runs on 0 records: none of the 10 was at hand" in text and "Not a medical device" in text
    assert "Runs on 55 records of 88,253 (55 patients): this shows that the command works" in text
    for path in page.CONFIGS.glob("*.yaml"):
        assert f"\n## {path.stem}\n" in text
        assert f"configs/tasks/{path.stem}.yaml" in text
    assert page.page(tmp_path).count("Runs on 0 records") == len(list(page.CONFIGS.glob("*.yaml")))
