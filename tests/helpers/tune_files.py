"""Small studies for the tests: a space, the words of a command, the table it leaves."""

import csv

from tests.helpers.training_files import call, flags
from training import families
from training.experiments import tune, tune_plan

SPACE = """
lr: {low: 1e-4, high: 1e-2, log: true}
batchsize: {choices: [8, 16]}
model_config.dropout: {low: 0, high: 0.5}
model_config.blocks: {low: 2, high: 3}
"""


def words(database, out, space, *more, model="ecgnet"):
    return [*flags(model, database, out, "--epochs", 1, "--study", "s", "--space", space), *map(str, more)]


def rows(out, study="s"):
    with open(out / "tuning" / study / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def without_times(table):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in table]


def run(*args):
    return call(lambda: tune.main(), "tune.py", *args)


def by_rate(config, epoch=0):
    """Pretend that 1e-3 is the best learning rate."""
    return 0.9 - 10 * abs(config.lr - 1e-3) + 0.001 * epoch


def pretend_training(monkeypatch, score):
    """Replace training by ``score(config, epoch)``, the validation score; gives the list of runs."""
    runs = []

    def train(config, on_epoch):
        runs.append(config)
        for epoch in range(config.epochs):
            if on_epoch(epoch, score(config, epoch)):
                return

    family = families.TorchFamily()
    monkeypatch.setattr(family, "train", train)
    monkeypatch.setattr(tune_plan, "family_of", lambda _: family)
    return runs
