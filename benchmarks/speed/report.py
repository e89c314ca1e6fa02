"""The measurements as one Markdown page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.speed import attribution, attribution_metrics
from benchmarks.speed.imle_net_variants import VARIANTS
from benchmarks.speed.protoecgnet import TEST_FOLD
from utils.files import read_json
from utils.report.markdown import markdown

BENCHMARKS = (
    "reading",
    "pipeline_memory",
    "model_steps",
    "imle_net_variants",
    "protoecgnet",
    "resampling",
    "attribution",
    "attribution_metrics",
)


def _machine(report: dict[str, Any]) -> str:
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    load = machine["load_average"][0]
    return (
        f"<sub>{machine['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} "
        f"GB, load average {load} from other jobs; {packages}; commit "
        f"`{(machine['git_commit'] or 'unknown')[:12]}`</sub>"
    )


def _reading(report: dict[str, Any]) -> str:
    times, ratios = report["median_cpu_ms_per_record"], report["ratio"]
    names = {
        "wfdb": "`wfdb.rdsamp`, one by one (verifies nothing)",
        "read_and_verify": "direct reader, every checksum verified",
        "read_verify_and_cache": "the same, fingerprinted and written into the cache (first use)",
        "open_cache": "open the cache (every later use)",
        "batches_from_cache": "read it in batches of 32, float32 mV",
    }
    lines = [
        [text, f"{times[key]:.3f}", f"{ratios[key]:.0f} x" if key in ratios else "1 x"]
        for key, text in names.items()
    ]
    return "\n\n".join(
        [
            "## Reading",
            f"CPU time of a record; {report['records']:,} records ({report['data']}), files in the page "
            f"cache, median of {len(report['cpu_ms_per_record']['wfdb'])} fresh processes each.",
            markdown(["way", "CPU ms", "times faster than wfdb"], lines),
        ]
    )


def _pipeline(report: dict[str, Any]) -> str:
    lines = []
    titles = {"first_run": "first run", "crops_run": "run on crops", "later_run": "run on whole records"}
    for run, title in titles.items():
        for stage in report[run]["stages"]:
            lines.append(
                [f"{title}: {stage['stage'].replace('standardise', 'standardize')}"]
                + [f"{stage[key]:,.0f}" for key in ("peak_rss_mb", "own_mb", "mapped_files_mb")]
                + [f"{stage['cpu_seconds']:.1f}"]
            )
    plain = report["plain"]
    lines.append(
        [f"plain way, {plain['records']:,} records (measured)", f"{plain['peak_rss_mb']:,.0f}", "", "", ""]
    )
    lines.append(
        [
            f"plain way, {report['records']:,} records (extrapolated)",
            f"{plain['extrapolated_peak_mb']:,.0f}",
            "",
            "",
            "",
        ]
    )
    data = max(report[run]["stages"][2]["peak_rss_mb"] for run in titles)
    return "\n\n".join(
        [
            "## Memory of the whole pipeline",
            f"{report['records']:,} synthetic records of 10 s at 100 Hz, as many as PTB-XL has, from the "
            "files through `load_ptbxl`, the standardizer and one epoch of batches as TensorFlow tensors "
            f"to training steps (batch {report['batch_size']}), by the code of `train.py`. The first run "
            "reads the files and writes the cache; the later ones read the cache and train with "
            "`configs/imle_net_crops.yaml` and on whole records. The plain way reads with wfdb into one "
            "float64 array and scales it with scikit-learn, as the reference does; it grows by "
            f"{1000 * plain['mb_per_record']:.0f} kB a record, without any framework.",
            markdown(["stage", "peak RSS so far, MB", "private, MB", "mapped files, MB", "CPU s"], lines),
            "Mapped files are the libraries; they count in RSS, but the system can reclaim them when it "
            "needs memory. Importing TensorFlow, "
            f"Keras and scikit-learn takes {report['first_run']['stages'][0]['peak_rss_mb']:,.0f} MB of RSS. "
            f"Data and framework together stay at {data:,.0f} MB; a training step adds the activations of "
            "its batch, independent of the size of the dataset.",
        ]
    )


def _steps(report: dict[str, Any]) -> str:
    lines = []
    for name, entry in report["cpu_seconds_per_record"].items():
        ours, plain, calibration = entry["ours"], entry["plain"], entry["calibration_cpu_seconds"]
        lines.append(
            [
                f"{models.title(name)} (batch {entry['batch_size']})",
                f"{1e3 * ours['train']:.2f}",
                f"{1e3 * plain['train']:.2f}",
                f"{entry['train_ratio']:.2f}",
                f"{1e3 * entry['reference_train']:.1f}",
                f"{1e3 * ours['infer']:.2f}",
                f"{1e3 * plain['infer']:.2f}",
                f"{entry['infer_ratio']:.2f}",
                f"{ours['peak_rss_mb']:,.0f} / {plain['peak_rss_mb']:,.0f}",
                f"{1e3 * calibration['matmul_1024']:.0f} / {1e3 * calibration['conv1d']:.0f}",
            ]
        )
    header = ["model", "training step, ours", "plain", "plain / ours", "reference's figure"]
    header += ["inference step, ours", "plain", "plain / ours", "peak RSS, ours / plain, MB", "fixed jobs"]
    return "\n\n".join(
        [
            "## Model steps",
            "CPU ms of a record on one thread (Adam, its loss, float32), after a warm-up. *Plain* is the "
            "same network layer for layer in stock Keras or PyTorch, as in the reference, measured in turn "
            "with ours; a test checks that both give the same outputs. The best of several steps counts, "
            "because other jobs on the machine can only slow a step down.",
            markdown(header, lines),
            "The reference's figures come from another run of similar hardware: compare *plain* with them "
            "to see how fast this machine was at that moment. *Fixed jobs* serve the same purpose, in CPU "
            "ms: a 1024 x 1024 float32 matrix product (NumPy) / a 1-D convolution forward and backward, 32 "
            "x 64 channels x 1000 samples, kernel 17 (PyTorch).",
        ]
    )


def _variants(report: dict[str, Any]) -> str:
    lines = [
        [
            VARIANTS[name],
            f"{1e3 * entry['train']:.1f}",
            f"{entry['relative']:.2f}",
            f"{entry['peak_rss_mb']:,.0f}",
        ]
        for name, entry in report["variants"].items()
    ]
    return "\n\n".join(
        [
            "## Variants of IMLE-Net's training step",
            f"CPU ms of a record on one thread (Adam, float32, batch {report['batch_size']}), after a "
            "warm-up; the variants were measured in turn, and the best step counts. Descriptions: "
            "[docs/imle_net_speed.md](../../docs/imle_net_speed.md).",
            markdown(["variant", "training step, ms", "relative to stock Keras", "peak RSS, MB"], lines),
        ]
    )


def _both(entry: dict[str, Any]) -> str:
    return f"{entry['ours']['peak_rss_mb']:,.0f} / {entry['plain']['peak_rss_mb']:,.0f}"


def _protoecgnet(report: dict[str, Any]) -> str:
    steps, projections = [], []
    for branch, entry in report["steps"].items():
        ours, plain = (f"{1e3 * min(entry[kind]['seconds']):.1f}" for kind in ("ours", "plain"))
        ratio, reference = f"{entry['ratio']:.2f}", f"{1e3 * entry['reference']:.0f}"
        steps.append([branch, ours, plain, ratio, reference, _both(entry)])
    for branch, entry in report["projection"].items():
        times = [f"{entry[kind]['seconds']:.2f}" for kind in ("ours", "one_to_one", "plain")]
        ratio, reference = f"{entry['ratio']:.2f}", f"{entry['reference']:.2f}"
        projections.append([branch, *times, ratio, reference, _both(entry)])
    explained = report["explanation"]
    minutes = explained["seconds"] * TEST_FOLD / 60
    memory = "peak RSS, ours / plain, MB"
    step_header = ["branch", "ours", "plain", "plain / ours", "reference's figure", memory]
    header = ["branch", "nearest", "one-to-one", "plain", "plain / nearest", "reference's figure", memory]
    return "\n\n".join(
        [
            "## ProtoECGNet",
            f"CPU ms of a record in a joint training step (batch {report['batch_size']}), on one thread. "
            "*Plain* is the reference's implementation: image layers, a Python loop over the windows.",
            markdown(step_header, steps),
            f"CPU seconds to project all prototypes onto {report['records']} records; for the branches "
            "morphology and global 57 % of them have a label, as in PTB-XL. *Nearest* is the reference's "
            "rule; one-to-one is the default.",
            markdown(header, projections),
            f"Explaining a record (three branches, 1,037 prototypes, 71 classes) takes "
            f"{1e3 * explained['seconds']:.1f} CPU ms, forward passes included: {minutes:.1f} minutes for "
            f"the {TEST_FOLD:,} records of fold 10 on one core, at {explained['peak_rss_mb']:,.0f} MB.",
        ]
    )


def _resampling(report: dict[str, Any]) -> str:
    lines = [
        [
            name,
            f"{entry['ours_cpu_seconds']:.2f}",
            f"{entry['plain_cpu_seconds_extrapolated']:.1f}",
            f"{entry['ratio']:.0f} x",
            f"{entry['ours_peak_rss_mb']:,.0f} / {entry['plain_peak_rss_mb']:,.0f}",
        ]
        for name, entry in report["shapes"].items()
    ]
    header = [
        "records x classes",
        "ours, CPU s",
        "scikit-learn, CPU s",
        "ratio",
        "peak RSS, ours / plain, MB",
    ]
    return "\n\n".join(
        [
            "## Bootstrap of macro ROC-AUC",
            f"{report['resamples']} resamples; scikit-learn's `roc_auc_score` was measured on "
            f"{report['plain_resamples']} of them and extrapolated.",
            markdown(header, lines),
        ]
    )


_SECTIONS = {
    "reading": _reading,
    "pipeline_memory": _pipeline,
    "model_steps": _steps,
    "imle_net_variants": _variants,
    "protoecgnet": _protoecgnet,
    "resampling": _resampling,
    "attribution": attribution.section,
    "attribution_metrics": attribution_metrics.section,
}


def page(folder: Path) -> str:
    """The page, from the JSON reports in a folder."""
    parts = [
        "# Speed and memory",
        "Generated by `python -m benchmarks.speed table` from the JSON files beside it; do not edit. "
        "`python -m benchmarks.speed` repeats all measurements (`make benchmark`); ratios are within one "
        "run on one machine.",
    ]
    for name in BENCHMARKS:
        path = folder / f"{name}.json"
        if path.is_file():
            report = read_json(path)
            parts += [_SECTIONS[name](report), _machine(report)]
    return "\n\n".join(parts) + "\n"
