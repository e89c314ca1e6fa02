"""The commands of version 1's README and of the published READMEs, run as written on small synthetic data.

What follows ``##`` makes a run small; everything before it is what was published, with the scripts that the
published ``main.py``, ``tune.py``, ``inference_fusion.py``, ``compute_attribution.py`` and
``evaluate_attribution.py`` are here.
"""

import numpy as np
import pytest

from databases.wfdb_files import write_record
from tests.helpers.command_lines import ROOT, run_lines
from tests.helpers.ecg_files import SIGNALS, write_csv, write_wfdb
from tests.helpers.ptbxl_files import write_small_ptbxl
from tests.helpers.window_files import write_annotations
from utils.files import read_json

IMLE_NET = """
python train.py --model imle_net --batchsize 32 --epochs 60 --loggr False ## \
    --model_config '{"filters": 2, "lstm_units": 2, "attention_units": 2, "blocks": [1, 1]}'
python test.py --model imle_net --batchsize 32 ## --resamples 5
python train.py --model imle_net --sub True ##
python test.py --model imle_net --sub True ## --resamples 5
python train.py --model mousavi --batchsize 32 --epochs 60 --loggr False ## \
    --model_config '{"filters": [2], "lstm_units": 2, "dense_units": 4}'
python train.py --model rajpurkar --batchsize 32 --epochs 60 --loggr False ## \
    --model_config '{"filters": 2, "blocks": 4, "kernel": 4}'
python torch_train.py --model ecgnet --batchsize 32 --epochs 60 --loggr False ## \
    --model_config '{"filters": 4, "stem_kernels": [15], "blocks": 2, "lstm_units": 4}'
python torch_test.py --model ecgnet --batchsize 32 ## --resamples 5
python torch_train.py --model resnet101 --batchsize 32 --epochs 60 --loggr False ## \
    --model_config '{"width": 2, "blocks": [1, 1, 1, 1]}'
python inference.py --dir record ##
python inference.py --dir ecg.csv --units uV ##
python inference.py --dir ecg.npy --sampling_rate 500 --units mV ##
python inference.py --dir folder/ --model imle_net_mi ##
"""
PUBLISHED_BRANCH = (
    "--epochs 200 --batch_size 32 --lr 0.0001 --checkpoint_dir c --log_dir l --save_top_k 3 --patience 10 "
    "--resume_checkpoint False --backbone resnet18 --joint_prototypes_per_border 0 --sampling_rate 100 "
    "--save_weights True --seed 42 --num_workers 4 --dropout 0.35 --l2 0.00017 "
    "--scheduler_type CosineAnnealingLR --custom_groups True --proto_dim 512"
)
MORPHOLOGY = "--dimension 2D --label_set 3 --proto_time_len 3 --single_class_prototype_per_class 18"
PROTOECGNET = f"""
python torch_train.py --model protoecgnet --job_name paper {PUBLISHED_BRANCH} {MORPHOLOGY} \
    --training_stage feature_extractor ##
python torch_train.py --model protoecgnet --job_name paper {PUBLISHED_BRANCH} {MORPHOLOGY} \
    --training_stage joint --pretrained_weights checkpoints/paper/morphology/feature_extractor ##
python torch_train.py --model protoecgnet --job_name paper {PUBLISHED_BRANCH} {MORPHOLOGY} \
    --training_stage projection ##
python torch_train.py --model protoecgnet --job_name paper {PUBLISHED_BRANCH} {MORPHOLOGY} \
    --training_stage classifier ##
python torch_test.py --model protoecgnet --run paper --branch morphology ## --resamples 5
python -m training.experiments.tune --model protoecgnet --job_name tune --n_trials 200 {PUBLISHED_BRANCH} \
    {MORPHOLOGY} --training_stage joint --test_dir t --study_dir s ## --n_trials 1 --space space.yaml
python torch_train.py --model protoecgnet --data_dir data/ptb ##
python torch_test.py --model protoecgnet --explain -1 ## --resamples 5 --pictures 0
python torch_test.py --model protoecgnet --gallery ##
python inference.py --model protoecgnet --dir record --data_dir data/ptb ##
python inference.py --model protoecgnet_rhythm --dir record --data_dir data/ptb ##
"""
ATTRIBUTION = """
python -m attribution.build --dataset mitdb --data_dir data/mitdb ##
python -m attribution.train --config configs/attribution/mitdb.yaml --seed 1 ## \
    --model_config '{"widths": [2, 2, 2, 2]}'
python -m attribution.compute --dataset mitdb --model_path mitdb_resnet18_seed1 --attr_method all --limit 40 \
    ## --limit 3 --prob_threshold 0 --n_samples 4 --ig_steps 2 --n_baselines 2 --segment_ms 800
python -m attribution.evaluate --attr_dir results/attribution/mitdb_resnet18_seed1 ## --runs 4 --patch_ms 800
python -m attribution.sanity --attr_dir results/attribution/mitdb_resnet18_seed1 --windows 8 ## --windows 1
python -m attribution.report results/attribution/mitdb_resnet18_seed1 \
    --output_dir results/attribution/report ## --resamples 5
python -m attribution.train --dataset mitdb --dataset_path data/attribution/mitdb.npz \
    --result_dir result_train ## --epochs 1 --model_config '{"widths": [2, 2, 2, 2]}'
python -m attribution.compute --dataset mitdb --dataset_path data/attribution/mitdb.npz \
    --model_path result_train/checkpoints/mitdb_resnet18_seed42 --attr_method gradcam \
    --result_dir result_attr ## --limit 2 --prob_threshold 0
python -m attribution.evaluate --attr_dir result_attr \
    --model_path result_train/checkpoints/mitdb_resnet18_seed42 --eval_metric attribution_localization \
    --result_dir result_eval ##
python -m attribution.evaluate --attr_dir result_attr --result_dir result_all --eval_metric \
    attribution_localization auc pointing_game relevance_mass_accuracy relevance_rank_accuracy \
    top_k_intersection region_perturbation faithfulness_correlation ## --runs 4 --patch_ms 800
"""
# every label set has positive and negative records in each split
CODES = [
    {"NORM": 100.0, "SR": 0.0},
    {"IMI": 100.0, "LVH": 100.0, "LAFB": 100.0, "AFIB": 0.0},
    {"ASMI": 80.0, "NDT": 100.0, "ABQRS": 0.0, "SR": 0.0},
]
SMALL_PROTOTYPES = "--width 2 --proto_dim 4 --single_class_prototype_per_class 1"
EPOCH = "--epochs 1 --threads 1"


def lines(text: str) -> list[str]:
    """Command lines with what makes them small."""
    listed = []
    for line in text.replace("\\\n", "").strip().splitlines():
        published, _, small = line.partition("##")
        if "train.py" in published or ".train" in published or ".tune" in published:
            small += f" {EPOCH}"
        if "protoecgnet" in published and ("torch_train" in published or "tune" in published):
            small += f" {SMALL_PROTOTYPES} --classifier_epochs 1"
        listed.append(f"{published} {small}")
    return listed


@pytest.fixture
def folder(tmp_path):
    """A working folder with PTB-XL, and the presets, where the commands expect them."""
    (tmp_path / "configs").symlink_to(ROOT / "configs", target_is_directory=True)
    write_small_ptbxl(tmp_path / "data" / "ptb", 100, codes=CODES)
    return tmp_path


def write_own_ecgs(folder):
    """A WFDB record, ecg.csv in microvolts, ecg.npy of 500 Hz in mV, and a folder of two files, one bad."""
    write_wfdb(folder, name="record")
    np.save(folder / "ecg.npy", SIGNALS)
    write_csv(folder / "ecg.csv", 1000 * SIGNALS, time=("time", np.arange(len(SIGNALS)) / 500))
    (folder / "folder").mkdir()
    write_wfdb(folder / "folder", name="good")
    (folder / "folder" / "bad.csv").write_text("I,II\n1,2\n")


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.torch
def test_imle_net_commands_run(folder):
    write_own_ecgs(folder)
    done = run_lines(lines(IMLE_NET), folder, check=False)
    assert [part.code for part in done] == [0] * 12 + [1], done[-1].err  # one file of the two is bad
    assert "FutureWarning" not in "".join(part.err for part in done)
    for run in ("imle_net", "imle_net_mi", "ecgnet"):
        assert read_json(folder / "logs" / run / "test.json")["records"]
    assert read_json(folder / "results" / "imle_net" / "ecg" / "prediction.json")["classes"]
    assert (folder / "results" / "imle_net_mi" / "good" / "prediction.json").exists()


@pytest.mark.torch
def test_protoecgnet_commands_run(folder):
    write_own_ecgs(folder)
    (folder / "space.yaml").write_text("lr: {low: 1e-4, high: 1e-2, log: true}\n")
    done = run_lines(lines(PROTOECGNET), folder)
    assert "the published command line means the morphology branch" in done[0].out
    assert read_json(folder / "logs/paper/morphology/classifier/test.json")["records"] == 10
    assert read_json(folder / "logs/protoecgnet/fusion/test.json")["records"] == 10
    assert (folder / "tuning" / "protoecgnet" / "best.yaml").exists()


def write_mitdb(folder):
    """Records of training, validation and test patients with normal and ventricular beats."""
    rng = np.random.default_rng(0)
    for name in ("101", "106", "114", "205", "100", "103"):
        beats = range(200, 17000, 300)  # the first half of the record is normal
        marks = [(at, "V" if at > 9000 and index % 5 == 0 else "N") for index, at in enumerate(beats)]
        signal = rng.normal(0, 20, (17280, 2))
        for at, symbol in marks:
            signal[at - 15 : at + 15] += (-900 if symbol == "V" else 600) * np.hanning(30)[:, None]
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder, name, signal.astype(np.int16), 360, ("MLII", "V1"))
        write_annotations(folder / name, marks)


@pytest.mark.torch
def test_attribution_commands_run(folder):
    write_mitdb(folder / "data" / "mitdb")
    run_lines(lines(ATTRIBUTION), folder)
    assert (folder / "results" / "attribution" / "report" / "report.html").exists()
    assert len(list((folder / "result_all").rglob("*.csv"))) == 1
