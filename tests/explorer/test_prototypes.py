"""Prototypes beside a record: decomposition, alignment and ratings."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from explain.prototypes.gallery import _FIELDS
from explorer.prototypes import (
    COLUMNS,
    FIELDS,
    Rating,
    Ratings,
    align,
    evidence_table,
    nearest_prototypes,
    ratings_csv,
)
from explorer.sources import read_sample
from training import load_predictor
from training.protoecgnet.projected import prototype_list
from utils.errors import DataError, UsageError

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def predictor():
    """The shipped model with prototypes."""
    return load_predictor("protoecgnet_rhythm")


@pytest.fixture(scope="module")
def part(predictor):
    """The most probable class of the normal sample, decomposed."""
    signal = read_sample("sample_ecg_norm.csv").recording.signal
    best = predictor.classes[int(predictor.predict(signal[None])[0].argmax())]
    return nearest_prototypes(predictor, signal, best)


def test_contributions_add_up_to_the_logit(part):
    rows = evidence_table(part)
    assert sum(row["contribution"] for row in rows) == pytest.approx(part.logit, abs=1e-3)
    values = [row["contribution"] for row in rows[:-1]]
    assert len(values) == 5 and values == sorted(values, reverse=True)


def test_windows_of_record_and_prototype_lie_together(part):
    entry = replace(
        part.evidence[0],
        start_ms=3000.0,
        end_ms=4000.0,
        source=part.evidence[0].source | {"start_ms": 500.0, "end_ms": 1500.0},
    )
    record, source = np.arange(1000)[:, None] * np.ones(12), np.arange(1000)[:, None] * np.ones(12)
    pair = align(record, source, entry, 100.0)
    assert len(pair.record) == len(pair.prototype) == 50 + 100 + 100 and pair.window == (50, 150)
    assert pair.record[50, 0] == 300 and pair.prototype[50, 0] == 50
    whole = align(record, source, part.evidence[0], 100.0)  # the rhythm branch compares whole records
    assert whole.window == (0, 1000) and len(whole.record) == 1000
    with pytest.raises(DataError, match="lies outside"):
        align(record[:350], source, entry, 100.0)


def test_ratings_are_kept_and_exported_as_the_offline_gallery_does(tmp_path, predictor):
    assert set(FIELDS) == set(_FIELDS) and COLUMNS[4:] == _FIELDS
    ratings = Ratings(tmp_path, predictor)
    ratings.save(3, Rating("4", "5", best=True, comment='=1+1, "clear"'))
    ratings.save(1, Rating(bad=True))
    ratings.save(1, Rating())
    known = Ratings(tmp_path, predictor).read()
    assert known == {3: Rating("4", "5", best=True, comment='=1+1, "clear"')}
    prototypes = prototype_list(predictor)
    (row,) = csv.DictReader(io.StringIO(ratings_csv(known, prototypes)))
    assert row["prototype"] == "3" and row["ecg_id"] == str(prototypes[3]["ecg_id"])
    assert (row["representativeness"], row["best"], row["bad"]) == ("4", "true", "")
    assert row["comment"] == '\'=1+1, "clear"'  # a spreadsheet does not run it


def test_ratings_that_are_damaged_or_wrong_are_refused(tmp_path, predictor):
    ratings = Ratings(tmp_path, predictor)
    with pytest.raises(UsageError, match="1 to 5"):
        Rating("6")
    ratings.path.parent.mkdir()
    ratings.path.write_text('{"weights_sha256": "other", "ratings": {}}', encoding="utf-8")
    with pytest.raises(DataError, match="other weights"):
        ratings.read()
    ratings.path.write_text('{"ratings": []}', encoding="utf-8")
    with pytest.raises(DataError, match="not a file of ratings"):
        ratings.read()
