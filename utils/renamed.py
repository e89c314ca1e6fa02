"""Modules under the names that they had before: importing one works for one version and warns.

A finder at the end of `sys.meta_path` is asked only for names that no file answers, so it costs nothing else;
one at its head answers for the modules of a moved package.
``python -m`` of a renamed command works the same way.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import CodeType, ModuleType

RENAMED = {
    "attribution.agreement": "attribution.metrics.agreement",
    "attribution.beats": "preprocessing.targets.beats",
    "attribution.classifier": "explain.engine.classifier",
    "attribution.fast": "explain.engine.fast",
    "attribution.feature_maps": "explain.engine.classifier",
    "attribution.figures": "attribution.report.figures",
    "attribution.frequency_convolution": "explain.engine.frequency_convolution",
    "attribution.journal": "attribution.engine.store",
    "attribution.map_figures": "attribution.report.map_figures",
    "attribution.methods": "explain.methods",
    "attribution.metrics.disturb": "attribution.metrics.perturbed_inputs",
    "attribution.metrics.localisation": "attribution.metrics.localization",
    "attribution.metrics.regions": "attribution.metrics.perturbed_inputs",
    "attribution.metrics.removal": "attribution.metrics.perturbation",
    "attribution.model_stability": "attribution.sanity.checks",
    "attribution.names": "explain.names",
    "attribution.published": "attribution.report.ranks",
    "attribution.randomization": "attribution.sanity.randomization",
    "attribution.ranks": "attribution.report.ranks",
    "attribution.rating": "attribution.report.maps",
    "attribution.report_html": "attribution.report.tables",
    "attribution.report_maps": "attribution.report.maps",
    "attribution.report_tables": "attribution.report.tables",
    "attribution.results": "attribution.engine.workspace",
    "attribution.sanity_checks": "attribution.sanity.checks",
    "attribution.sanity_files": "attribution.sanity.checks",
    "attribution.score_files": "attribution.scores.files",
    "attribution.score_plan": "attribution.scores.compute",
    "attribution.scores": "attribution.scores.summary",
    "attribution.scoring": "attribution.scores.compute",
    "attribution.selection": "attribution.engine.selection",
    "attribution.shared_layers": "explain.engine.shared_layers",
    "attribution.sources.beat_sets": "attribution.sources.holter",
    "attribution.sources.icentia11k": "attribution.sources.holter",
    "attribution.sources.synthetic": "attribution.sources.whole_records",
    "attribution.sources.collect": "preprocessing.beat_windows",
    "attribution.sources.ptbxl": "attribution.sources.whole_records",
    "attribution.sources.records": "databases.wfdb_reader",
    "attribution.study": "attribution.report.analysis",
    "attribution.truth": "preprocessing.targets.regions",
    "attribution.windows": "preprocessing.windows",
    "benchmarks.attribution": "benchmarks.old_commands",
    "benchmarks.protoecgnet": "benchmarks.old_commands",
    "benchmarks.protoecgnet_ablation_tables": "benchmarks.pages.ablations",
    "benchmarks.protoecgnet_ablations": "benchmarks.ablate",
    "benchmarks.results": "benchmarks.old_commands",
    "benchmarks.tables": "benchmarks.pages.ptbxl",
    "databases.http_files": "databases.download.http_files",
    "databases.synthetic_ecg": "databases.synthetic",
    "preprocessing.augmentation": "preprocessing.transforms.augmentation",
    "preprocessing.ecg_arrays": "preprocessing.recordings.arrays",
    "preprocessing.ecg_channels": "preprocessing.recordings.ecg_channels",
    "preprocessing.ecg_csv": "preprocessing.recordings.ecg_csv",
    "preprocessing.ecg_files": "preprocessing.recordings.formats",
    "preprocessing.filters": "preprocessing.transforms.filters",
    "preprocessing.labels": "preprocessing.targets.ptbxl",
    "preprocessing.limb_leads": "preprocessing.recordings.limb_leads",
    "preprocessing.load": "preprocessing.ptbxl",
    "preprocessing.own_ecg": "preprocessing.recordings.external",
    "preprocessing.resample": "preprocessing.transforms.resample",
    "preprocessing.standardize": "preprocessing.transforms.standardize",
    "training.explain": "explain.attention",
    "training.flags": "utils.flags",
    "training.keras_loop": "training.loops.keras_loop",
    "training.processes": "training.loops.processes",
    "training.protoecgnet.contributions": "explain.prototypes.contributions",
    "training.protoecgnet.explain": "explain.prototypes.explain",
    "training.protoecgnet.explanation_csv": "explain.prototypes.explain",
    "training.protoecgnet.gallery": "explain.prototypes.gallery",
    "training.protoecgnet.pictures": "utils.plotting.windows",
    "training.protoecgnet.report": "explain.prototypes.report",
    "training.protoecgnet.sources": "explain.prototypes.source_records",
    "training.provenance": "utils.provenance",
    "training.recorder": "training.loops.recorder",
    "training.schedule": "training.loops.schedule",
    "training.scoring": "training.evaluate",
    "training.search_space": "training.experiments.search_space",
    "training.study": "training.experiments.study",
    "training.testing": "twelvelead.commands.test",
    "training.torch_loop": "training.loops.torch_loop",
    "training.tune": "training.experiments.tune",
    "training.tune_family": "training.families",
    "training.tune_plan": "training.experiments.tune_plan",
    "utils.ecg_paper": "utils.plotting.ecg_paper",
    "utils.plots": "utils.plotting.ecg",
    "utils.ranking": "utils.auc",
}


def new_name(name: str) -> str | None:
    """Today's name of a module, None where it was not renamed."""
    if name in RENAMED:
        return RENAMED[name]
    package, _, rest = name.rpartition(".")
    moved = RENAMED.get(package)
    return f"{moved}.{rest}" if moved else None


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        new = new_name(fullname)
        spec = importlib.util.find_spec(new) if new else None
        if spec is None:
            return None
        package = spec.submodule_search_locations is not None
        return importlib.machinery.ModuleSpec(fullname, self, origin=spec.origin, is_package=package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new = str(new_name(spec.name))
        _warn(spec.name, new)
        return importlib.import_module(new)

    def exec_module(self, module: ModuleType) -> None:
        pass  # it ran under its new name

    def get_source(self, fullname: str) -> str | None:
        new = new_name(fullname)
        loader = importlib.util.find_spec(new).loader  # type: ignore[arg-type, union-attr]
        return loader.get_source(new)  # type: ignore[union-attr]

    def get_code(self, fullname: str) -> CodeType | None:
        _warn(fullname, str(new_name(fullname)))  # `python -m` runs the code itself
        return super().get_code(fullname)


class _PackageFinder(_Finder):
    """Modules of a moved package, before the search for files finds them a second time."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package = fullname.rpartition(".")[0]
        if package not in RENAMED or any(f"{new}.".startswith(f"{package}.") for new in RENAMED.values()):
            return None
        return super().find_spec(fullname, path, target)


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is now {new}; the old name will be removed in the next version", FutureWarning, stacklevel=2
    )


def install() -> None:
    """Make old names importable; called by every package whose modules were renamed."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PackageFinder())
        sys.meta_path.append(_Finder())
