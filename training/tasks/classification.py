"""Classification of whole records: independent classes (multilabel) and exclusive ones (multiclass)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from training.tasks.base import Decision, Task, interval_table
from training.tasks.certified import certified_remark, certified_text, check_certified, describe_certified
from training.tasks.registry import register_task
from utils.bootstrap import bootstrap, paired_difference
from utils.calibration import Calibrator, choose_calibration
from utils.errors import DataError
from utils.files import jsonable
from utils.metrics import choose_thresholds, evaluate
from utils.outputs import ClassOutputs, LabelOutputs, Outputs

logger = logging.getLogger(__name__)

FREQUENT = 5  # patients with a class, and without it, from which on it counts as frequent
INTERVALS = ("macro_roc_auc", "class_roc_auc", "macro_auprc", "mean_accuracy", "macro_f1_at_thresholds")
CALIBRATION = {"ece": "ECE", "brier": "Brier score", "log_loss": "log loss"}  # of evaluate; lower is better
PROPER = ("brier", "log_loss")  # those with an interval of their own
_FREQUENT_INTERVALS = ("macro_roc_auc", "macro_auprc", "macro_f1_at_thresholds")


def thresholds_of(decision: Decision, count: int) -> np.ndarray:
    """Thresholds of a decision; 0.5 where it has none."""
    thresholds = (decision or {}).get("thresholds")
    return np.array(thresholds) if thresholds else np.full(count, 0.5)


def calibrator_of(decision: Decision) -> Calibrator | None:
    """Calibrator of a decision, None where it has none or changes nothing."""
    calibration = (decision or {}).get("calibration")
    calibrator = Calibrator.from_json(calibration) if calibration else None
    return None if calibrator is None or calibrator.is_identity else calibrator


@register_task("multilabel")
class MultilabelClassification(Task):
    """Independent classes: a sigmoid for each, macro ROC-AUC, a threshold and Platt scaling for each."""

    loss_name = "bce"
    activation = "sigmoid"
    select_on = "macro_roc_auc"
    logged: ClassVar[tuple[str, ...]] = ("mean_accuracy",)
    titles: ClassVar[dict[str, str]] = {"macro_roc_auc": "macro ROC-AUC"}

    def _smoothed_over(self) -> int:
        return 2  # present and absent

    def encode(self, targets: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
        """Labels as float32, moved towards equal probabilities by label smoothing."""
        return np.asarray(targets).astype(np.float32) * (1 - smoothing) + smoothing / self._smoothed_over()

    def check_data(self, train: Any, val: Any) -> None:
        """Refuse validation records that give no ROC-AUC; tell which classes they cannot judge."""
        name = val.split_names[val.selection]
        if not (val.targets.any(axis=0) & ~val.targets.all(axis=0)).any():
            raise DataError(
                f"{val.task}: no class has both positive and negative records in {name} ({len(val)} "
                "records), so no ROC-AUC can choose a checkpoint: use more records (--limit 0) or another "
                "--task"
            )
        unseen = train.targets.any(axis=0) & ~val.targets.any(axis=0)
        if unseen.any():
            listed = ", ".join(c for c, absent in zip(self.classes, unseen, strict=True) if absent)
            logger.info(
                f"{name} has no record with {listed}: it has no effect on any choice, its threshold is 0.5"
            )

    def score(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision = None
    ) -> dict[str, Any]:
        """Every metric of `utils.metrics.evaluate`; those at thresholds where the decision has them."""
        thresholds = thresholds_of(decision, len(self.classes)) if decision else None
        return evaluate(targets, predictions, self.classes, thresholds)

    def fit_decision(self, dataset: Any, predictions: np.ndarray) -> Decision:
        """Threshold with the best F1 of each class, and Platt scaling where it helps."""
        return {
            "thresholds": choose_thresholds(dataset.targets, predictions).tolist(),
            "calibration": choose_calibration(dataset.targets, predictions, dataset.patients),
        }

    def check_decision(self, decision: Decision, where: Any) -> None:
        """Refuse thresholds that are not probabilities and a calibration that is not finite."""
        thresholds = (decision or {}).get("thresholds")
        if thresholds is not None:
            if not isinstance(thresholds, list) or len(thresholds) != len(self.classes):
                raise DataError(
                    f"{where}: 'thresholds' must be a list with one entry for each of {len(self.classes)} "
                    "classes"
                )
            if not all(type(t) in (int, float) and 0 <= t <= 1 for t in thresholds):
                raise DataError(f"{where}: 'thresholds' must be probabilities, not {thresholds}")
        check_certified(decision, self.classes, where)
        try:
            calibrator = calibrator_of(decision)
        except DataError as error:
            raise DataError(f"{where}: 'calibration': {error}") from error
        if calibrator is not None and len(calibrator.slope) != len(self.classes):
            raise DataError(
                f"{where}: 'calibration' has {len(calibrator.slope)} classes, the model {len(self.classes)}"
            )

    def remarks(self, decision: Decision) -> list[str]:
        """Missing thresholds or calibration, and what certified thresholds promise."""
        remarks = []
        if not (decision or {}).get("thresholds"):
            remarks.append("the model's card has no thresholds: 0.5 is used for every class")
        if not (decision or {}).get("calibration"):
            remarks.append("the model's card has no calibration: probabilities are as the model gives them")
        promise = certified_remark(decision)
        return [*remarks, promise] if promise else remarks

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """Classes that reach their threshold."""
        return np.asarray(predictions) >= thresholds_of(decision, len(self.classes))

    def outputs(
        self, predictions: np.ndarray, decision: Decision = None, records: Sequence[Any] | None = None
    ) -> Outputs:
        """Labels: those that reach their thresholds."""
        ids = np.arange(len(predictions)) if records is None else np.asarray(records)
        thresholds = thresholds_of(decision, len(self.classes))
        answer = self.decode(predictions, decision)
        return LabelOutputs(ids, tuple(self.classes), predictions, answer, thresholds)

    def report(
        self,
        dataset: Any,
        predictions: np.ndarray,
        decision: Decision = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Metrics of a split with confidence intervals over patients."""
        thresholds = thresholds_of(decision, len(self.classes))
        labels, patients, classes = dataset.targets, dataset.patients, self.classes
        draws = {"resamples": resamples, "seed": seed}
        result: dict[str, Any] = {"metrics": evaluate(labels, predictions, classes, thresholds)}
        answers = self.outputs(predictions, decision, dataset.ids)
        result["decision_scores"] = _named_scores(answers.scores(self._answer(labels)), classes)
        names = (*INTERVALS, *PROPER)
        try:
            result["bootstrap"] = bootstrap(
                labels, predictions, patients, names, resamples, seed, thresholds=thresholds, classes=classes
            )
        except DataError as error:  # too few records of a class: the table gives the values and the reason
            result["bootstrap"] = {"intervals": {}, "impossible": str(error)}
        frequent = frequent_classes(labels, patients)
        if 0 < frequent.size < len(classes):
            listed = [classes[column] for column in frequent]
            part = labels[:, frequent], predictions[:, frequent]
            result["frequent"] = _frequent(*part, patients, listed, thresholds[frequent], draws)
        calibrator = calibrator_of(decision)
        if calibrator is not None:
            possible = "impossible" not in result["bootstrap"]
            after = calibrator(predictions)
            result["calibrated"] = self._calibrated(dataset, predictions, after, draws if possible else None)
            result["ece_calibrated"] = result["calibrated"]["metrics"]["ece"]
        return result

    def _answer(self, labels: np.ndarray) -> np.ndarray:
        """Targets in the form of the answers in `outputs`."""
        return labels

    def _calibrated(
        self, dataset: Any, raw: np.ndarray, calibrated: np.ndarray, draws: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Scores of calibrated probabilities, and their differences from those of raw ones."""
        labels, patients = dataset.targets, dataset.patients
        metrics = evaluate(labels, calibrated, self.classes)
        result: dict[str, Any] = {"metrics": {name: metrics[name] for name in CALIBRATION}}
        if draws is not None:
            result["intervals"] = bootstrap(labels, calibrated, patients, PROPER, **draws)["intervals"]
            result["differences"] = {
                name: paired_difference(labels, calibrated, raw, patients, name, **draws)
                for name in CALIBRATION
            }
        return result

    def table(self, report: dict[str, Any]) -> str:
        """Text table of a report: values, and their intervals over patients."""
        intervals = report["bootstrap"]["intervals"]
        by_class, scores = intervals.get("class_roc_auc", {}), report["metrics"]["class_roc_auc"]
        of_classes = [(f"ROC-AUC {name}", value, by_class.get(name)) for name, value in scores.items()]
        lines = interval_table([*_metric_rows(report), *of_classes])
        undefined = report["metrics"]["undefined_classes"]
        if undefined:
            lines.append(f"undefined here (no positive or no negative record): {', '.join(undefined)}")
        counts = report["bootstrap"]
        lines.append(
            f"no intervals: {counts['impossible']}"
            if "impossible" in counts
            else f"{counts['resamples']} resamples of {counts['patients']} patients; "
            f"{counts['rejected']} more lost a class and were rejected"
        )
        if "frequent" in report:
            least, names = report["frequent"]["least_patients"], ", ".join(report["frequent"]["classes"])
            lines.append(f"frequent: {least} patients or more: {names}")
        return "\n".join(lines)

    def columns(self, dataset: Any, predictions: np.ndarray, decision: Decision = None) -> dict[str, Any]:
        """Label, answer and probability of each class."""
        thresholds = thresholds_of(decision, len(self.classes))
        columns: dict[str, Any] = {}
        for index, name in enumerate(self.classes):
            columns[f"Label_{name}"] = dataset.targets[:, index]
            columns[f"Pred_{name}"] = (predictions[:, index] >= thresholds[index]).astype(int)
            columns[f"Prob_{name}"] = predictions[:, index].round(6)
        return columns

    def describe(self, prediction: np.ndarray, decision: Decision, sampling_rate: float) -> dict[str, Any]:
        """``classes``: probability, calibrated probability, threshold and answer of each class.

        With certified thresholds also ``certified``: threshold, miss rate and whether the class is flagged,
        None for a class without.
        """
        calibrator = calibrator_of(decision)
        calibrated = calibrator(prediction[None])[0] if calibrator else None
        thresholds = thresholds_of(decision, len(self.classes))
        positive = self.decode(prediction[None], decision)[0]
        return {
            "classes": [
                {
                    "class": name,
                    "probability": float(prediction[i]),
                    "calibrated": None if calibrated is None else float(calibrated[i]),
                    "threshold": float(thresholds[i]),
                    "positive": bool(positive[i]),
                    **describe_certified(decision, name, float(prediction[i])),
                }
                for i, name in enumerate(self.classes)
            ]
        }

    def lines(self, described: dict[str, Any]) -> list[str]:
        """A line for each class."""
        lines = []
        for c in described["classes"]:
            calibrated = "" if c["calibrated"] is None else f"  calibrated {c['calibrated']:.3f}"
            scores = f"{c['probability']:.3f}{calibrated}  threshold {c['threshold']:.3f}"
            answer = "yes" if c["positive"] else "no"
            promise = certified_text(c.get("certified"))
            lines.append(f"  {c['class']:8s} {scores}  {answer}{'  ' * bool(promise)}{promise}")
        return lines

    def summary(self, described: dict[str, Any]) -> dict[str, Any]:
        """Probability of each class."""
        return {c["class"]: round(c["probability"], 6) for c in described["classes"]}

    def summary_columns(self) -> dict[str, type]:
        """Every class."""
        return dict.fromkeys(self.classes, float)


@register_task("multiclass")
class MulticlassClassification(MultilabelClassification):
    """Exclusive classes: a softmax; the most probable class is the answer."""

    loss_name = "ce"
    activation = "softmax"

    def _smoothed_over(self) -> int:
        return len(self.classes)

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """The most probable class."""
        return np.arange(len(self.classes)) == np.argmax(predictions, axis=1)[:, None]

    def outputs(
        self, predictions: np.ndarray, decision: Decision = None, records: Sequence[Any] | None = None
    ) -> Outputs:
        """Class numbers."""
        ids = np.arange(len(predictions)) if records is None else np.asarray(records)
        return ClassOutputs(ids, tuple(self.classes), predictions, np.argmax(predictions, axis=1))

    def _answer(self, labels: np.ndarray) -> np.ndarray:
        return np.argmax(labels, axis=1)


def _named_scores(scores: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Scores of `classification_scores` as JSON values, by class name; None where one is not defined."""
    return {
        name: jsonable(
            {"macro": score["macro"], "classes": dict(zip(classes, score["classes"].tolist(), strict=True))}
        )
        for name, score in scores.items()
    }


def frequent_classes(labels: np.ndarray, patients: np.ndarray, least: int = FREQUENT) -> np.ndarray:
    """Columns of the classes that at least ``least`` patients have, and as many do not have."""
    count = len(np.unique(patients))
    having = np.array([len(np.unique(patients[column > 0])) for column in labels.T], dtype=np.int64)
    return np.flatnonzero((having >= least) & (count - having >= least))


def _frequent(
    labels: np.ndarray,
    predictions: np.ndarray,
    patients: np.ndarray,
    classes: list[str],
    thresholds: np.ndarray,
    draws: dict[str, Any],
) -> dict[str, Any]:
    """Metrics and intervals over the frequent classes."""
    metrics = evaluate(labels, predictions, classes, thresholds)
    values = {name: metrics[name] for name in _FREQUENT_INTERVALS}
    intervals = bootstrap(
        labels, predictions, patients, _FREQUENT_INTERVALS, thresholds=thresholds, classes=classes, **draws
    )
    return {"least_patients": FREQUENT, "classes": classes, "metrics": values, "bootstrap": intervals}


def _metric_rows(report: dict[str, Any]) -> Sequence[tuple[str, float | None, Any]]:
    metrics, intervals = report["metrics"], report["bootstrap"]["intervals"]
    rows = [("macro ROC-AUC", metrics["macro_roc_auc"], intervals.get("macro_roc_auc"))]
    frequent = report.get("frequent")
    if frequent:
        bounds = frequent["bootstrap"]["intervals"]["macro_roc_auc"]
        name = f"macro ROC-AUC of {len(frequent['classes'])} frequent classes"
        rows.append((name, frequent["metrics"]["macro_roc_auc"], bounds))
    if metrics.get("top1_accuracy") is not None:
        rows.append(("accuracy of the most probable class", metrics["top1_accuracy"], None))
    at_thresholds = "macro_f1_at_thresholds"
    rows += [
        ("mean accuracy at 0.5", metrics["mean_accuracy"], intervals.get("mean_accuracy")),
        ("mean accuracy, chosen thresholds", metrics["mean_accuracy_at_thresholds"], None),
        ("max F1 (reference's, 10 thresholds)", metrics["max_f1_reference"], None),
        ("macro F1, chosen thresholds", metrics[at_thresholds], intervals.get(at_thresholds)),
        ("Fmax", metrics["fmax"], None),
        ("macro AUPRC", metrics["macro_auprc"], intervals.get("macro_auprc")),
    ]
    after = report.get("calibrated", {})
    for key, title in CALIBRATION.items():
        rows.append((title, metrics.get(key), intervals.get(key)))
        if after:
            bounds = after.get("intervals", {}).get(key)
            rows.append((f"{title}, calibrated", after["metrics"][key], bounds))
            change = after.get("differences", {}).get(key)
            if change:
                rows.append((f"{title}, change by calibration", change["difference"], change))
    return rows
