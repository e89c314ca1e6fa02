"""An exported model behind the interface of `Predictor`, computed by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from training.export.inside import preprocess
from training.export.onnx_file import INPUT, OUTPUTS, packages, read_onnx
from training.predictor import Predictor
from utils.errors import DataError, TwelveLeadError
from utils.text import short_reason
from utils.threads import thread_count


class OnnxModel:
    """A session of ONNX Runtime on the CPU, with the notes of the export."""

    def __init__(self, content: bytes, path: Path, threads: int = 0, notes: dict[str, Any] | None = None):
        _, onnxruntime = packages()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = thread_count(threads), 1
        options.log_severity_level = 4  # what it has to say comes as an exception
        self.path, self.notes = path, notes or {}
        try:
            self.session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own classes are many and internal
            raise DataError(f"{path} cannot be computed by ONNX Runtime: {short_reason(error)}") from error

    def run(self, signals_mv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits and probabilities; (B, T, leads) -> (B, ..., C) twice."""
        # 8 bits are scaled by the range of a whole batch: one record a time, or it would depend on the others
        step = 1 if "int8" in self.notes else max(1, len(signals_mv))
        parts = [signals_mv[first : first + step] for first in range(0, len(signals_mv), step)]
        try:
            answers = [self.session.run(list(OUTPUTS), {INPUT: part}) for part in parts or [signals_mv]]
        except Exception as error:
            raise TwelveLeadError(f"{self.path} failed in ONNX Runtime: {short_reason(error)}") from error
        logits, probabilities = (np.concatenate(both) for both in zip(*answers, strict=True))
        return logits, probabilities


class OnnxPredictor(Predictor):
    """A `Predictor` of an exported file: windows, scaling and activation are in its network.

    ``model``: an `OnnxModel`. There are no gradients: methods that need them are refused.
    """

    def __init__(self, path: Path, threads: int = 0):
        content, card, notes = read_onnx(path)
        self.network = OnnxModel(content, path, threads, notes)
        super().__init__(path, card, self.network, lambda batch: self._checked(self.network.run(batch)[1]))
        self.crop = 0  # of what the network reads: it cuts the windows itself

    def _checked(self, probabilities: np.ndarray) -> np.ndarray:
        if probabilities.ndim < 2 or probabilities.shape[-1] != len(self.classes):
            raise DataError(
                f"{self.folder} answers an array of shape {probabilities.shape} for {len(self.classes)} "
                "classes: the card belongs to another model"
            )
        return probabilities

    def _standardize(self, signals_mv: Any, first: int) -> np.ndarray:
        """Check records, and do what the network leaves to its caller."""
        return preprocess(self.standardizer, self._check(signals_mv, first))

    def standardize(self, signals_mv: np.ndarray) -> np.ndarray:
        """Check records and standardize them with the numbers of the card, as the network does inside."""
        return super()._standardize(signals_mv, first=0)

    def logits(self, standardized: np.ndarray) -> np.ndarray:
        """Logits of standardized records, (B, T, leads) -> (B, ..., C).

        Raises
        ------
        TwelveLeadError
            The standardization cannot be undone.
        """
        how = self.standardizer
        if how.preprocess or how.highpass or how.per_record:
            raise TwelveLeadError(
                f"{self.folder} standardizes every record by itself, which cannot be undone: explain the "
                "checkpoint that it was exported from"
            )
        return self.network.run(standardized * np.float32(how.std) + np.float32(how.mean))[0]
