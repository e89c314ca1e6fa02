"""Measurements of exported models, and their page."""

import json

import pytest

from benchmarks.export import ExportBenchmarkOptions, run_export
from benchmarks.pages import export as export_page
from benchmarks.rows import DATA


@pytest.mark.torch
def test_export_benchmark_measures_what_is_named_and_keeps_the_rest(tmp_path):
    (tmp_path / "export.json").write_text(
        json.dumps({"weights": {}, "models": {"old": {"framework": "torch"}}})
    )
    options = ExportBenchmarkOptions(weights=["rpeaks"], models=["fcn_wang"], rounds=1, data=tmp_path)
    result = json.loads(run_export(options).read_text())
    row = result["weights"]["rpeaks"]
    assert row["random"] < 1e-4 and row["seconds"]["32"]["onnx"] > 0 and "real" not in row
    assert result["models"]["fcn_wang"]["random"] < 1e-4 and "old" in result["models"]
    text = export_page.page(tmp_path / "export.json")
    assert "| `rpeaks` | `unet` | torch |" in text and "Not a medical device" in text


def test_export_page_names_what_was_refused(tmp_path):
    report = json.loads((DATA / "export.json").read_text())
    report["models"]["odd"] = {"framework": "torch", "refused": "it has an operator that ONNX lacks"}
    name = next(iter(report["weights"]))
    report["weights"][name] |= {
        "classes": 5,
        "int8": {"refused": "it falls", "score": "macro_roc_auc", "float32": 0.9, "int8": 0.8, "lost": 0.1}
        | {"lost_up_to": None, "records": 40, "left_out": ["HYP"]},
    }
    (tmp_path / "export.json").write_text(json.dumps(report))
    text = export_page.page(tmp_path / "export.json")
    assert "- `odd`: it has an operator that ONNX lacks" in text
    assert f"| `{name}` | macro roc auc | 40 | 0.9000 | 0.8000 | 0.1000 | – | 4 of 5 | no |" in text
