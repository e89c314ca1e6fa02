"""What is done to signals: preprocessors, resampling, standardization, augmenters."""

from preprocessing.transforms import bandpass as _bandpass  # noqa: F401  (the preprocessors register themselves)
from preprocessing.transforms import baseline as _baseline  # noqa: F401
from preprocessing.transforms import inputs as _inputs  # noqa: F401
from preprocessing.transforms import length as _length  # noqa: F401
from preprocessing.transforms import normalize as _normalize  # noqa: F401
from preprocessing.transforms import resample as _resample  # noqa: F401
from preprocessing.transforms import spikes as _spikes  # noqa: F401
from preprocessing.transforms.amplitude import amplitude
from preprocessing.transforms.augmenters import AugmenterManager, list_augmenters, register_augmenter
from preprocessing.transforms.preprocessor import PreprocManager, list_preprocessors, register_preprocessor
from preprocessing.transforms.respiration import ecg_derived_respiration

__all__ = [
    "AugmenterManager",
    "PreprocManager",
    "amplitude",
    "ecg_derived_respiration",
    "list_augmenters",
    "list_preprocessors",
    "register_augmenter",
    "register_preprocessor",
]
