"""Windows of any other database: its whole records, labeled by one of its target sets."""

from __future__ import annotations

from attribution.sources.options import BuildOptions
from attribution.sources.ptbxl import limited, windows_of
from databases import Database
from preprocessing import list_targets, load_dataset
from preprocessing.targets.registry import CLASS_KINDS
from preprocessing.windows import Windows
from utils.errors import UsageError


def build_any(database: Database, options: BuildOptions) -> Windows:
    """Take the records of the task, with the splits of the database."""
    if options.reference:
        raise UsageError(f"the study has no {database.name}: leave out --reference")
    if not options.task:
        targets = ", ".join(list_targets(database.name)) or "none is registered"
        raise UsageError(f"--task must name a target set of {database.name}: {targets}")
    rate = options.sampling_rate
    how = {"cache_dir": options.cache_dir, **options.splitting}
    dataset = load_dataset(database.name, database.root, options.task, rate, **how)
    if dataset.kind not in CLASS_KINDS:
        raise UsageError(f"--task {options.task}: maps explain classes, not targets of kind {dataset.kind}")
    settings = {"reference": False, "limit": options.limit, "version": dataset.version, "task": options.task}
    return windows_of(database.name, limited(dataset, options.limit), settings)
