"""The stages of ProtoECGNet, one by one or as a chain.

joint -> projection -> classifier for each branch, then fusion. Each stage is a run of its own in
``checkpoints/<run>/<branch>/<stage>``; ``--resume`` continues an interrupted chain.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from models_torch.protoecgnet import BRANCHES
from training.checkpoint import read_card, write_checkpoint
from training.lock import locked
from training.loops.cards import make_card, provenance_of
from training.loops.processes import on_first, together
from training.loops.recorder import OnEpoch
from training.loops.torch_loop import Prepare, train_job
from training.protoecgnet.board import log_prototypes
from training.protoecgnet.classifier import (
    macro_auc,
    prepare_fusion,
    prepare_head,
    probabilities_of,
    score_records,
)
from training.protoecgnet.config import CHAIN, ProtoConfig, stage_config
from training.protoecgnet.joint import prepare_prototypes, prepare_trunk
from training.protoecgnet.networks import (
    check_options,
    check_records,
    load_network,
    source_of,
    stage_folder,
)
from training.protoecgnet.projection import project
from training.run import Run
from training.setup import load_training_data
from utils.errors import UsageError
from utils.seeds import seed_everything
from utils.threads import thread_count

logger = logging.getLogger(__name__)


def run_stage(config: ProtoConfig, on_epoch: OnEpoch | None = None) -> Path:
    """Run one stage of one branch, or the fusion."""
    stage = config.training_stage
    if stage == "fusion" and (config.branch or config.init):
        raise UsageError("the fusion joins all branches of --run: it takes neither --branch nor --init")
    options = stage_config(config, "" if stage == "fusion" else config.branch, stage)
    logger.info(f"--- {stage}{f' of branch {options.branch}' if options.branch else ''}")
    if stage == "projection":
        on_first(lambda: _project(config, options))
        return stage_folder(config, options.branch, stage)
    prepare: dict[str, Prepare] = {
        "feature_extractor": prepare_trunk,
        "prototypes": partial(prepare_prototypes, chain=config),
        "joint": partial(prepare_prototypes, chain=config),
        "classifier": partial(prepare_head, chain=config),
        "fusion": partial(prepare_fusion, chain=config),
    }
    if stage in ("classifier", "fusion"):
        options = replace(options, init="")
    return train_job(options, prepare[stage], on_epoch)


def run_chain(config: ProtoConfig) -> Path:
    """Run joint, projection and classifier of each branch, and the fusion of all."""
    branches = [config.branch] if config.branch else list(BRANCHES)
    steps = [(branch, stage) for branch in branches for stage in CHAIN]
    if not config.branch:
        steps.append(("", "fusion"))
    if config.init and not config.branch:
        raise UsageError("--init names the weights of one branch: say which with --branch")
    existing = [s for s in steps if stage_folder(config, *s).exists()]
    if existing and not (config.resume or config.overwrite):
        raise UsageError(
            f"run '{config.run}' exists in {stage_folder(config, *existing[0])}: --resume continues it, "
            "--overwrite replaces it, --run NAME starts another"
        )
    folder = Path()
    for branch, stage in steps:
        folder = stage_folder(config, branch, stage)
        again = config.resume and _current(config, branch, stage)
        if again and stage == "projection":
            logger.info(f"--- projection of branch {branch}: done before")
            continue
        first = config.init if stage == CHAIN[0] else ""  # what follows starts from the stage before it
        step = replace(config, branch=branch, training_stage=stage, init=first)
        run_stage(replace(step, resume=again, overwrite=not again))
    return folder


def _current(config: ProtoConfig, branch: str, stage: str) -> bool:
    """Whether a stage was begun, and from the weights that its earlier stages have now."""
    folder = stage_folder(config, branch, stage)
    if stage == "joint":
        return (folder / "last" / "state.safetensors").exists()
    if not (folder / "card.json").exists():
        return False
    earlier = CHAIN[CHAIN.index(stage) - 1] if branch else "classifier"
    sources = [stage_folder(config, name, earlier) for name in ([branch] if branch else BRANCHES)]
    earlier_weights = [read_card(source).weights_sha256 for source in sources]
    return read_card(folder).provenance.made_from == earlier_weights


def _project(chain: ProtoConfig, config: ProtoConfig) -> None:
    """Replace each prototype by the most similar piece of a training ECG, and tell what that costs."""
    folder = stage_folder(chain, config.branch, "projection")
    if (folder / "card.json").exists() and not chain.overwrite:
        raise UsageError(f"{folder} exists: --overwrite projects again")
    source = source_of(chain, config.branch, ("joint", "prototypes"))
    other = stage_folder(chain, config.branch, "prototypes")
    if not chain.init and other != source and (other / "card.json").exists():
        logger.info(
            f"note: this projects {source}; --branch {config.branch} --training_stage projection "
            f"--init {other} projects the stage prototypes instead"
        )
    torch.set_num_threads(thread_count(config.threads))
    with Run.claim(replace(config, resume=False, overwrite=True)) as run:
        data = load_training_data(config)
        network, card = load_network(source, config.branch, data.train.classes)
        check_records(source, card, data)
        check_options(chain, card)
        seed_everything(config.seed)
        if config.limit:
            logger.info(f"only the {len(data.train)} records of --limit can become prototypes")
        before = macro_auc(network, score_records(network, data.val, data.standardizer), data)
        projection = project(network, data.train, data.standardizer, config.one_to_one)
        projection.apply(network)
        similarities = score_records(network, data.val, data.standardizer)
        after = macro_auc(network, similarities, data)
        scores = {"val_macro_roc_auc_before": round(before, 6), "val_macro_roc_auc_after": round(after, 6)}
        report = projection.report | scores
        extra = card.extra | {"stage": "projection", "projection": report}
        extra["prototypes"] = projection.prototypes
        metrics = {"val_macro_roc_auc": round(after, 6)}
        origin = provenance_of(config, [card.weights_sha256])
        predictions = probabilities_of(network, similarities)
        written = make_card(data, "torch", network.config, predictions, metrics, origin, extra)
        state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        write_checkpoint(folder, written, partial(save_file, state))
        if "tensorboard" in config.loggers:
            shutil.rmtree(run.logs, ignore_errors=True)
            pictures = log_prototypes(run.logs, projection.prototypes, data.train, similarities)
            logger.info(f"wrote {pictures} pictures of prototypes to {run.logs} (TensorBoard)")
    logger.info(
        f"{report['projected']} of {report['prototypes']} prototypes are now pieces of "
        f"{report['distinct_records']} training ECGs ({report['duplicate_windows']} show a window that "
        f"another one shows); macro ROC-AUC on {data.names[1]} {before:.4f} -> {after:.4f}"
    )
    logger.info(f"wrote {folder}")


def run_command(config: ProtoConfig) -> None:
    """Train one stage or the chain from the command line, in as many processes as there are devices."""
    chain = config.training_stage == "all"
    top = Path(config.output_dir)
    folder = top / "checkpoints" / config.run
    # single stages may run side by side, but not beside the chain, which reads and writes all of them
    lock = locked(folder, top, f"run '{config.run}' in {folder}", shared=not chain)
    with together(config.devices), lock:
        folder = (run_chain if chain else run_stage)(config)
        logger.info(f"the trained network is in {folder}")
