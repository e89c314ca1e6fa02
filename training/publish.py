"""Put the weights of a finished run where everybody who clones the repository finds them.

python -m training.publish --run imle_net_crops --name imle_net
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from training.checkpoint import ROOT, WEIGHTS, find_checkpoint, read_card, run_name, write_checkpoint
from training.predictor import load_predictor
from utils.config import Options, option, parse
from utils.errors import UsageError, run_cli
from utils.files import read_json, write_text
from utils.provenance import PUBLIC_DATA_DIR, machine_folders, portable

PRETRAINED = ROOT / "checkpoints" / "pretrained"


def publish(run: str, name: str, output_dir: str = ".", pretrained: Path = PRETRAINED) -> Path:
    """Copy weights and card of a scored run to ``checkpoints/pretrained/<name>``.

    The card gains the scores on fold 10; folders of the machine it was trained on become ``data/ptb``.
    """
    folder = find_checkpoint(run, output_dir)
    card = read_card(folder)
    report_path = Path(output_dir) / "logs" / run_name(folder) / "test.json"
    if not report_path.exists():
        raise UsageError(
            f"{folder} was not scored: run test.py or torch_test.py --run {run_name(folder)} first"
        )
    report = read_json(report_path)
    if report["checkpoint"]["weights_sha256"] != card["weights_sha256"]:
        raise UsageError(f"{report_path} scores other weights than {folder} holds: score the run again")
    if report["limit"] or card["config"]["limit"]:
        raise UsageError(f"{folder} was trained or scored with --limit: weights of a part are not published")
    interval = report["bootstrap"]["intervals"].get("macro_roc_auc")
    if interval is None:
        raise UsageError(f"{report_path} has no confidence interval: too few records of a class to publish")
    folders = machine_folders(card["config"], output_dir)
    folders[card["config"]["data_dir"]] = PUBLIC_DATA_DIR  # a relative one, too
    card = portable(card, folders)
    card["metrics"]["fold_10"] = {
        "records": report["records"],
        "macro_roc_auc": report["metrics"]["macro_roc_auc"],
        "macro_roc_auc_95": [interval["low"], interval["high"]],
        "mean_accuracy": report["metrics"]["mean_accuracy"],
    }
    target = pretrained / name
    write_checkpoint(target, card, partial(_write_weights, folder, card["framework"]))
    write_text(pretrained / "README.md", overview(pretrained))
    return target


def _write_weights(folder: Path, framework: str, path: Path) -> None:
    if framework == "torch":
        shutil.copyfile(folder / WEIGHTS["torch"], path)
    else:  # through a model that is not compiled: without the optimiser's state, two thirds of the file
        load_predictor(folder).model.save_weights(path)


def overview(pretrained: Path) -> str:
    """Describe the published weights in Markdown, from their cards."""
    lines = [
        "# Weights that come with the repository",
        "",
        "Made by `python -m training.publish` from runs on part of PTB-XL (CC BY 4.0, Wagner et al. 2020);",
        "each `card.json` says everything about its model. **Not a medical device.**",
        "",
        "| name | model | classes | trained on | fold 9 | fold 10 (95 %) | size |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(pretrained.glob("*/card.json")):
        card: dict[str, Any] = read_json(path)
        test = card["metrics"]["fold_10"]
        low, high = test["macro_roc_auc_95"]
        size = (path.parent / card["weights"]).stat().st_size / 1e6
        lines.append(
            f"| `{path.parent.name}` | {card['model']['name']} | {', '.join(card['classes'])} | "
            f"{card['data']['records']['train']} records | {card['metrics']['val_macro_roc_auc']:.3f} | "
            f"{test['macro_roc_auc']:.3f} ({low:.3f} - {high:.3f}) | {size:.1f} MB |"
        )
    lines += [
        "",
        "Fold 9 and fold 10: macro ROC-AUC; fold 9 chose the epoch, fold 10 was only scored.",
        "Input: 10 s, 100 Hz, mV, leads I II III aVR aVL aVF V1-V6; the card's own numbers standardise it.",
        "Known limits: trained on few records of one country and one kind of device, infarctions",
        "over-represented; hardly any ECGs of children; probabilities are for research, not for decisions.",
    ]
    return "\n".join(lines) + "\n"


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
