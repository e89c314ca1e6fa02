"""Pictures: ECG paper and the 12-lead ECG."""
