"""Copy the weights of a scored run into the repository, for everybody who clones it.

python -m training.publish --run imle_net_crops --name imle_net
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from training.card import WEIGHTS, Card, Provenance
from training.checkpoint import ROOT, find_checkpoint, read_card, run_name, write_checkpoint
from training.predictor import load_predictor
from training.tasks import create_task
from utils.config import Options, option, parse
from utils.errors import UsageError, run_cli
from utils.files import read_json, write_text
from utils.provenance import PUBLIC_DATA_DIR, machine_folders, portable
from utils.report.markdown import fill_markdown

PRETRAINED = ROOT / "checkpoints" / "pretrained"


def publish(run: str, name: str, output_dir: str = ".", pretrained: Path = PRETRAINED) -> Path:
    """Copy weights and card of a scored run to ``checkpoints/pretrained/<name>``.

    The card gains the scores of the test records; folders of the machine become ``data/ptb``.
    """
    folder = find_checkpoint(run, output_dir)
    card = read_card(folder)
    report_path = Path(output_dir) / "logs" / run_name(folder) / "test.json"
    if not report_path.exists():
        raise UsageError(
            f"{folder} was not scored: run test.py or torch_test.py --run {run_name(folder)} first"
        )
    report = read_json(report_path)
    if report["checkpoint"]["weights_sha256"] != card.weights_sha256:
        raise UsageError(f"{report_path} scores other weights than {folder} holds: score the run again")
    if report["limit"] or card.config.get("limit"):
        raise UsageError(f"{folder} was trained or scored with --limit: weights of a part are not published")
    target = pretrained / name
    public = _public(card, output_dir, _test_scores(card, report, report_path))
    write_checkpoint(target, public, partial(_write_weights, folder, card.framework))
    write_text(pretrained / "README.md", overview(pretrained))
    return target


def _test_scores(card: Card, report: dict[str, Any], path: Path) -> dict[str, Any]:
    """Scores of the test records for the card: the selection score with its interval, and the logged ones."""
    task = create_task(card.kind, card.classes)
    interval = report.get("bootstrap", {}).get("intervals", {}).get(task.select_on)
    if interval is None:
        raise UsageError(f"{path} has no confidence interval: too few records of a class to publish")
    return {
        "split": report["split"],
        "records": report["records"],
        task.select_on: report["metrics"][task.select_on],
        f"{task.select_on}_95": [interval["low"], interval["high"]],
        **{key: report["metrics"][key] for key in task.logged},
    }


def _public(card: Card, output_dir: str, scores: dict[str, Any]) -> Card:
    """The card without folders of the machine it was trained on, and with the scores of the test records."""
    folders = machine_folders(card.config, output_dir)
    database = card.config.get("database", "ptbxl")
    public = PUBLIC_DATA_DIR if database == "ptbxl" else f"data/{database}"
    folders[card.config["data_dir"]] = public  # a relative one, too
    provenance = Provenance(**portable(asdict(card.provenance), folders))
    metrics = {**card.metrics, "test": scores}
    return replace(card, provenance=provenance, metrics=metrics, extra=portable(card.extra, folders))


def _write_weights(folder: Path, framework: str, path: Path) -> None:
    if framework == "torch":
        shutil.copyfile(folder / WEIGHTS["torch"], path)
    else:  # through a model that is not compiled: without the optimizer's state, two thirds of the file
        load_predictor(folder).model.save_weights(path)


def overview(pretrained: Path) -> str:
    """Describe the published weights in Markdown, from their cards."""
    models = []
    for path in sorted(pretrained.glob("*/card.json")):
        card = Card.from_json(read_json(path), path)
        score = create_task(card.kind, card.classes).select_on
        test = card.metrics.get("test") or card.metrics["fold_10"]  # its name in cards of version 1
        size = (path.parent / card.weights).stat().st_size / 1e6
        models.append((path.parent.name, card, score, test, size))
    return fill_markdown("training/pretrained.jinja", models=models)


@dataclass
class PublishOptions(Options):
    """Which run is published, and under which name."""

    run: str = option("", "a run whose test records were scored", required=True)
    name: str = option("", "name of the published weights (default: the run)", scope="run")
    output_dir: str = option(".", "folder with checkpoints/ and logs/", scope="machine")


def main() -> None:
    """Read the flags and publish."""
    options = parse(PublishOptions, description=__doc__)
    target = publish(options.run, options.name or options.run, options.output_dir)
    print(f"wrote {target} and {PRETRAINED / 'README.md'}")


if __name__ == "__main__":
    run_cli(main)
