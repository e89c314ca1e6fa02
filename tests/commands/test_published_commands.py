"""Command lines of earlier versions and of the published systems are still understood."""

import dataclasses
import shlex

import pytest

from attribution.build import CommandOptions
from attribution.compute import parse_options
from attribution.evaluate import EvaluateOptions
from attribution.report.command import ReportOptions
from attribution.sanity.command import SanityOptions
from attribution.train import StudyConfig, check_study
from models_torch import list_models
from tests.helpers.training_files import ROOT
from training.config import chosen_model, parse_config
from training.experiments.tune_plan import parse_plan
from training.families import family_of
from training.protoecgnet.config import parse_proto_config
from twelvelead.commands.predict import PredictOptions
from twelvelead.commands.test import parse_options as parse_score_options
from utils.config import parse

pytestmark = pytest.mark.torch
KERAS = ["imle_net", "mousavi", "rajpurkar"]


def study_options(words):
    plan = parse_plan(words)
    return dataclasses.replace(plan.options, study=plan.study)


def study(words):
    ignored = {"gpu_num": "the GPU is used"}
    return parse_config("", list_models, "resnet18", words, StudyConfig, check_study, ignored=ignored)


def score_options(words, default):
    model = chosen_model(words) or default
    return parse_score_options(words, family_of(model), model)


READS = {
    "train.py": lambda words: parse_config("", KERAS, "imle_net", words),
    "torch_train.py": lambda words: parse_config("", list_models, "ecgnet", words),
    "main.py": lambda words: parse_proto_config("", words),
    "test.py": lambda words: score_options(words, "imle_net"),
    "torch_test.py": lambda words: score_options(words, "ecgnet"),
    "inference.py": lambda words: parse(PredictOptions, words),
    "tune": study_options,
    "attribution.build": lambda words: parse(CommandOptions, words),
    "attribution.train": study,
    "attribution.compute": parse_options,
    "attribution.evaluate": lambda words: parse(EvaluateOptions, words),
    "attribution.sanity": lambda words: parse(SanityOptions, words),
    "attribution.report": lambda words: parse(ReportOptions, words),
}
COMMANDS = """
train.py --model imle_net --batchsize 32 --epochs 60 --loggr False -> batchsize=32 epochs=60 loggr=False
train.py --model imle_net --sub True -> task='mi' run='imle_net_mi'
test.py --model imle_net --batchsize 32 -> model='imle_net' batchsize=32
test.py --model imle_net --sub True -> run='imle_net_mi'
test.py --config configs/demo.yaml -> seed=0
torch_train.py --model ecgnet --batchsize 32 --epochs 60 --loggr False -> model='ecgnet'
torch_test.py --model ecgnet --batchsize 32 -> model='ecgnet'
torch_test.py --model protoecgnet --explain -1 -> explain=-1
torch_test.py --model protoecgnet --gallery -> gallery=True
torch_test.py --config configs/protoecgnet/small.yaml -> model='protoecgnet' run='protoecgnet_small' \
seed=0
inference.py --dir ecg.csv --units uV -> units='uV'
inference.py --dir ecg.npy --sampling_rate 500 --units mV -> sampling_rate=500.0
main.py --model protoecgnet --data_dir data/ptb -> training_stage='all'
main.py --job_name 2D_morphology_train1 --epochs 200 --batch_size 32 --lr 0.0001 --checkpoint_dir c \
--log_dir l --save_top_k 3 --patience 10 --resume_checkpoint False --training_stage joint --dimension 2D \
--backbone resnet18 --single_class_prototype_per_class 18 --joint_prototypes_per_border 0 --sampling_rate \
100 --label_set 3 --save_weights True --seed 42 --num_workers 4 --dropout 0.35 --l2 0.00017 \
--scheduler_type CosineAnnealingLR --custom_groups True --proto_time_len 3 --proto_dim 512 \
--pretrained_weights w -> run='2D_morphology_train1' batchsize=32 schedule='cosine' \
task='proto_morphology' branch='morphology' init='w'
tune --model ecgnet --n_trials 50 --epochs 30 -> n_trials=50 study='ecgnet'
tune --model protoecgnet --branch morphology --n_trials 50 --study morphology -> study='morphology'
tune --model protoecgnet --job_name t --epochs 200 --n_trials 200 --batch_size 32 --checkpoint_dir c \
--log_dir l --test_dir t --study_dir s --sampling_rate 100 --label_set 3 --num_workers 4 --dimension 2D \
--seed 42 --training_stage joint --custom_groups True --proto_dim 512 --proto_time_len 3 -> n_trials=200
attribution.build --dataset mitdb --data_dir data/mitdb -> dataset='mitdb'
attribution.train --config configs/attribution/mitdb.yaml --seed 1 -> run='mitdb_resnet18_seed1'
attribution.train --dataset svdb --batch_size 32 --learning_rate 0.001 --gpu_num 0 --result_dir out \
--model resnet18_7 -> dataset='svdb' batchsize=32 lr=0.001 output_dir='out' model='resnet18'
attribution.compute --dataset mitdb --model_path mitdb_resnet18_seed1 --attr_method all --limit 40 -> \
limit=40
attribution.compute --dataset icentia11k --model_path m --attr_method gradcam --gpu_num 1 --result_dir \
out -> attr_method=['gradcam'] result_dir='out' prob_threshold=0.9
attribution.evaluate --attr_dir results/attribution/mitdb_resnet18_seed1 -> seed=0
attribution.evaluate --attr_dir a --model_path m --eval_metric attribution_localization --result_dir out \
-> eval_metric=['attribution_localization']
attribution.sanity --attr_dir results/attribution/mitdb_resnet18_seed1 --windows 8 -> windows=8
attribution.report results/attribution/mitdb_resnet18_seed1 --output_dir results/attribution/report -> \
maps=3
"""


@pytest.mark.parametrize("line", COMMANDS.replace("\\\n", "").strip().splitlines())
def test_published_command_is_understood(line, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    command, _, expected = line.partition(" -> ")
    script, *words = shlex.split(command)
    options = READS[script](words)
    for pair in shlex.split(expected, posix=False):
        name, _, value = pair.partition("=")
        assert repr(getattr(options, name)) == value, name
