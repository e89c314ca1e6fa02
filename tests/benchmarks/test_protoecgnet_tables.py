"""The committed tables of ProtoECGNet are those that its committed runs give."""

from benchmarks import protoecgnet as tables
from benchmarks.tables import insert
from training.checkpoint import ROOT


def test_page_and_readme_are_up_to_date():
    runs = tables.read_runs()
    page = (tables.RUNS / "README.md").read_text(encoding="utf-8")
    assert page == tables.page(runs), "run python -m benchmarks.protoecgnet table"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == insert(readme, tables.block(runs), "protoecgnet")


def test_the_rows_say_where_they_come_from():
    for name, run in tables.read_runs().items():
        for stage, entry in run["stages"].items():
            assert entry["command"].startswith("python torch_train.py --config configs/protoecgnet/"), (
                name,
                stage,
            )
            assert len(entry["git_commit"]) == 40 and entry["seed"] in (1, 2, 42), (name, stage)
