"""Options of the test command."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import DataOptions, RunOptions
from training.model_info import SPELLINGS
from utils.config import Options, option, option_like


@dataclass
class ScoreOptions(Options):
    """Which run is scored, on which data, and how."""

    model: str = option(
        "",
        "trained model, or the run or checkpoint folder of one",
        group="model",
        values=SPELLINGS,
    )
    run: str = option("", "name of the run or checkpoint folder (default: the model)", scope="run")
    sub: bool = option_like(DataOptions, "sub", False, "True: score the run MODEL_mi")
    task: str = option("", "label set; refused where the run was trained on another one", group="data")
    data_dir: str = option_like(
        DataOptions, "data_dir", "", "folder of the database (default: the one it was trained on)"
    )
    batchsize: int = option(32, "records of a forward pass", scope="machine", min=1, alias=("batch_size",))
    resamples: int = option(1000, "bootstrap resamples", min=2)
    seed: int = option(0, "seed of the bootstrap", min=0)
    limit: int = option(0, "score at most this many records (0: all)", group="data", min=0)
    partial: bool | None = option(
        None, "leave out records whose files are absent (default: as in training)", group="data",
        scope="machine",
    )  # fmt: skip
    threads: int = option_like(RunOptions, "threads", 0)
    output_dir: str = option_like(RunOptions, "output_dir", ".", "folder with checkpoints/ and logs/")
    explain: int = option(
        0, "explain the predictions of N records by prototypes (-1: all)", group="explanation", min=-1,
        metavar="N",
    )  # fmt: skip
    pictures: int = option(
        5, "of these, make a report with pictures for the first N", group="explanation", min=0, metavar="N"
    )
    gallery: bool = option(
        False, "write a page with all prototypes, for review and rating; scores records only with --explain",
        group="explanation", scope="run",
    )  # fmt: skip
    report: bool = option(
        False, "write a report: a page with curves, calibration, subgroups and errors, and its tables",
        group="report", scope="run",
    )  # fmt: skip
    shap: str = option(
        "off", "effort for the importance of the leads in the report (Shapley values)", group="report",
        choices=("off", "fast", "medium", "thorough"),
    )  # fmt: skip
