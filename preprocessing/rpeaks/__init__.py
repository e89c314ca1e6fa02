"""R-peaks of an ECG by published detectors, and the heart rate and its variability that follow from them."""

from preprocessing.rpeaks.detect import detect_rpeaks
from preprocessing.rpeaks.detectors import Detector, list_detectors, register_detector
from preprocessing.rpeaks.rhythm import heart_rate_variability, rr_intervals

__all__ = [
    "Detector",
    "detect_rpeaks",
    "heart_rate_variability",
    "list_detectors",
    "register_detector",
    "rr_intervals",
]
