"""Registry of R-peak detectors; those here call wfdb, NeuroKit2 and SleepECG."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from scipy.signal import butter, sosfiltfilt

from utils.errors import UsageError
from utils.registry import Registry

SSF_SHARE = 0.2  # of the squared slope that 0.5 % of the samples exceed; not tuned


@dataclass(frozen=True)
class Detector:
    """A detector of R-peaks in one lead.

    Attributes
    ----------
    name : str
        Name for `detect_rpeaks`.
    find : callable
        ``find(signal, rate)``: sample numbers of the peaks in a signal (T,) in mV, float64, without NaN, at
        ``rate`` Hz.
    doi : str
        Source of the method.
    rates : tuple of float
        Smallest and largest sampling rate in Hz at which the implementation works; other signals are
        resampled to the nearer one.
    upright : bool
        Whether the method expects complexes that point up: a lead of the other polarity is inverted first.
    """

    name: str
    find: Callable[[np.ndarray, float], np.ndarray]
    doi: str = ""
    rates: tuple[float, float] = (100.0, 1000.0)
    upright: bool = False


_DETECTORS: Registry[Detector] = Registry("R-peak detector")


def register_detector(detector: Detector) -> Detector:
    """Make a detector known by its name.

    Parameters
    ----------
    detector : Detector
        A name belongs to one module.

    Returns
    -------
    Detector
        The same.

    Raises
    ------
    UsageError
        If another module has registered the name.
    """
    return _DETECTORS.register(detector.name, detector, detector.find.__module__)


def list_detectors() -> list[str]:
    """Names of the detectors.

    Returns
    -------
    list of str
        Sorted.
    """
    return _DETECTORS.names()


def get_detector(name: str) -> Detector:
    """Detector of a name."""
    return _DETECTORS.get(name)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"this R-peak detector is part of {name}: pip install {name}") from error


def _xqrs(signal: np.ndarray, rate: float) -> np.ndarray:
    from wfdb.processing import xqrs_detect

    return xqrs_detect(signal, fs=rate, verbose=False)


def _gqrs(signal: np.ndarray, rate: float) -> np.ndarray:
    from wfdb.processing import gqrs_detect

    return gqrs_detect(signal, fs=rate) if np.ptp(signal) else np.empty(0)  # wfdb divides by the range


def _sleepecg(signal: np.ndarray, rate: float) -> np.ndarray:
    return _library("sleepecg").detect_heartbeats(signal, rate)


def _ssf(signal: np.ndarray, rate: float) -> np.ndarray:
    """Slope sum function: NeuroKit2's threshold of the squared slope, 20, is for one device's units."""
    neurokit2 = _library("neurokit2")
    filtered = neurokit2.ecg_clean(signal, sampling_rate=int(rate), method="neurokit")
    steepest = np.percentile(np.minimum(np.diff(filtered), 0) ** 2, 99.5)
    found = neurokit2.ecg_findpeaks(
        filtered, sampling_rate=int(rate), method="ssf", threshold=SSF_SHARE * steepest
    )
    return np.asarray(found["ECG_R_Peaks"])


def _gamboa(signal: np.ndarray, rate: float) -> np.ndarray:
    """Scale the signal to a range of 100, in which NeuroKit2's 100 bins of a density have a width of 1.

    Its band of 0.67 to 45 Hz by a Butterworth filter: the FIR filter of 1.5 s takes 50 times as long.
    """
    band = butter(4, (0.67, 45), "bandpass", fs=rate, output="sos")
    filtered = sosfiltfilt(band, signal)
    scaled = filtered * (100 / np.ptp(filtered))
    found = _library("neurokit2").ecg_findpeaks(scaled, sampling_rate=int(rate), method="gamboa2008")
    return np.asarray(found["ECG_R_Peaks"])


def _neurokit(method: str, clean: str = "") -> Callable[[np.ndarray, float], np.ndarray]:
    """Make the adapter of a method of NeuroKit2, after the filter that its authors use."""

    def find(signal: np.ndarray, rate: float) -> np.ndarray:
        neurokit2 = _library("neurokit2")
        with warnings.catch_warnings():  # about short signals and empty means, where there are no peaks
            warnings.simplefilter("ignore")
            filtered = neurokit2.ecg_clean(signal, sampling_rate=int(rate), method=clean or method)
            peaks = neurokit2.ecg_findpeaks(filtered, sampling_rate=int(rate), method=method)
        return np.asarray(peaks["ECG_R_Peaks"])

    return find


register_detector(Detector("xqrs", _xqrs))
register_detector(Detector("gqrs", _gqrs, "10.13026/gjvw-1m31"))
register_detector(Detector("sleepecg", _sleepecg, "10.21105/joss.05411"))
register_detector(Detector("neurokit", _neurokit("neurokit"), "10.3758/s13428-020-01516-y"))
register_detector(Detector("pan_tompkins", _neurokit("pantompkins1985"), "10.1109/TBME.1985.325532"))
register_detector(Detector("hamilton", _neurokit("hamilton2002"), "10.1109/CIC.2002.1166717"))
register_detector(Detector("christov", _neurokit("christov2004"), "10.1186/1475-925X-3-28"))
register_detector(Detector("engzee", _neurokit("engzeemod2012"), rates=(200.0, 1000.0), upright=True))
register_detector(Detector("elgendi", _neurokit("elgendi2010")))
# its threshold of the second difference fits 1000 Hz alone
register_detector(Detector("gamboa", _gamboa, rates=(1000.0, 1000.0), upright=True))
register_detector(Detector("ssf", _ssf, "10.1109/CIC.2003.1291140", upright=True))
