"""training.decide: thresholds are fitted again, and the weights stay."""

import pytest

from tests.helpers.training_files import call, small_database, write_untrained
from training import load_predictor
from training.checkpoint import read_card
from training.decide import decide, main
from training.evaluate import dataset_of, predict_dataset


def test_decide_fits_what_the_task_fits_and_keeps_the_weights(tmp_path, capsys):
    database = small_database(tmp_path / "ptb")
    folder = write_untrained(tmp_path / "checkpoints" / "run", "ecgnet")
    before = read_card(folder)
    call(main, "decide", "--run", "run", "--data_dir", database, "--output_dir", tmp_path, "--threads", 1)
    assert f"wrote {folder / 'card.json'}" in capsys.readouterr().out
    card = read_card(folder)
    predictor = load_predictor(folder)
    validation = dataset_of(card, str(database)).split("val")
    fitted = predictor.task.fit_decision(validation, predict_dataset(predictor, validation))
    assert card.outputs.decision["thresholds"] == pytest.approx(fitted["thresholds"])
    assert card.outputs.decision != before.outputs.decision
    assert card.extra["decided"]["before"] == before.outputs.decision
    assert card.weights_sha256 == before.weights_sha256 and "test" not in card.metrics
    decide("run", str(database), str(tmp_path), threads=1)
    assert read_card(folder).outputs.decision == card.outputs.decision
