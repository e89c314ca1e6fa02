"""The committed tables of ProtoECGNet are those that its committed runs give."""

import pytest

from benchmarks import protoecgnet as tables
from benchmarks import protoecgnet_ablations as ablations
from benchmarks.tables import insert
from training.checkpoint import ROOT
from training.protoecgnet.config import parse_proto_config
from utils.errors import UsageError


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


def test_every_ablation_changes_an_option_that_exists(tmp_path):
    listed = ablations.read_ablations()
    assert listed.pop(ablations.BASE) == {}
    for run, changes in listed.items():
        words = [word for key, value in changes.items() for word in (f"--{key}", str(value))]
        config = parse_proto_config("", words).to_json()
        base = parse_proto_config("", []).to_json()
        assert {key for key in config if config[key] != base[key]} == set(changes) != set(), run
        if "seed" in changes:
            assert ablations.base_of(config) in listed
    path = tmp_path / "ablations.yaml"
    path.write_text("typo: {lam_contrast: 0}\n")
    with pytest.raises(UsageError, match=r"typo: did you mean 'lam_cn?rst"):
        ablations.read_ablations(path)
