"""Experiments as one base configuration and what each run changes of it."""

import pytest

from tests.helpers.training_files import ROOT
from training.config import TrainConfig, check
from training.experiments.plan import (
    Variant,
    changed,
    first_stage,
    fixed_names,
    folds,
    grid,
    levels,
    read_variants,
    seeds,
)
from training.protoecgnet.config import CHAIN, ProtoConfig
from utils.errors import UsageError

BASE = TrainConfig(model="ecgnet", model_config={"dropout": 0.1})


def test_grid_combines_all_levels_of_all_factors():
    variants = grid(levels("lr", [1e-3, 1e-4]), levels("model_config.blocks", [2, 3]), seeds(2))
    assert len(variants) == len({variant.name for variant in variants}) == 8
    assert variants[0] == Variant(
        "lr-0.001_blocks-2_seed0", {"lr": 1e-3, "model_config.blocks": 2, "seed": 0}
    )
    config = changed(BASE, variants[-1].changes)
    assert (config.lr, config.seed, config.model_config) == (1e-4, 1, {"dropout": 0.1, "blocks": 3})
    assert BASE.model_config == {"dropout": 0.1}


def test_folds_cover_a_cross_validation():
    configs = [check(changed(BASE, variant.changes), ["ecgnet"]) for variant in folds(3)]
    assert [(c.split, c.folds, c.fold, c.run) for c in configs] == [
        ("kfold", 3, fold, f"ecgnet_fold{fold}") for fold in (1, 2, 3)
    ]


def test_read_variants_of_the_repository():
    variants = read_variants(ROOT / "configs" / "protoecgnet" / "ablations.yaml", ProtoConfig, "ablation_")
    assert len(variants) > 10 and all(variant.name.startswith("ablation_") for variant in variants)
    assert all(changed(ProtoConfig(), variant.changes) != ProtoConfig() for variant in variants)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("typo: {lam_contrast: 0}", "unknown key 'lam_contrast'"),
        ("typo: {width: wide}", "key 'width' must be of type int, not 'wide'"),
        ("typo: {data_dir: x, lr: 1}", "--data_dir is not a setting of a variant"),
        ("typo:", "each line is 'name: {option: value}', not 'typo': None"),
        ("- pooling", "each line is"),
        ("", "each line is"),
        ("typo: {pooling", "is not valid YAML"),
    ],
)
def test_read_variants_wrong_lists_are_named(tmp_path, text, message):
    path = tmp_path / "list.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_variants(path, ProtoConfig)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_plan_starts_at_the_first_stage_that_reads_a_change():
    stages = (*CHAIN, "fusion")
    assert first_stage(ProtoConfig, ["prune", "fusion_l1"], stages) == stages.index("classifier")
    assert first_stage(ProtoConfig, ["fusion_start"], stages) == stages.index("fusion")
    assert first_stage(ProtoConfig, ["one_to_one", "lr"], stages) == 0
    assert first_stage(ProtoConfig, [], stages) == 0


def test_fixed_names_are_those_of_machine_and_run():
    assert {"data_dir", "threads", "run", "resume", "loggr", "init"} <= fixed_names(TrainConfig)
    assert not {"lr", "epochs", "seed", "split"} & fixed_names(TrainConfig)
