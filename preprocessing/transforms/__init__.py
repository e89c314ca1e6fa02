"""What is done to signals: filters, resampling, standardization, augmentation."""

from preprocessing.transforms.augmenters import register_augmenter

__all__ = ["register_augmenter"]
