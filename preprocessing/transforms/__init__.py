"""What is done to signals: filters, resampling, standardization, augmentation."""
