"""Committed runs of ProtoECGNet and committed studies of attribution."""

import pytest

from benchmarks.collect import collect_report
from benchmarks.pages.protoecgnet import read_runs
from benchmarks.rows import DATA
from utils.errors import DataError, UsageError


def test_committed_runs_say_where_they_come_from():
    for name, run in read_runs(DATA / "protoecgnet").items():
        for stage, entry in run["stages"].items():
            assert entry["command"].startswith("python torch_train.py --config configs/protoecgnet/"), (
                name,
                stage,
            )
            assert len(entry["git_commit"]) == 40 and entry["seed"] in (1, 2, 42), (name, stage)


def test_reports_that_cannot_be_collected_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no summary\.json"):
        collect_report(tmp_path, tmp_path / "studies")
    (tmp_path / "summary.json").write_text('{"dataset": "mitdb"}')
    with pytest.raises(DataError, match="is not a summary of a report, it lacks model"):
        collect_report(tmp_path, tmp_path / "studies")
