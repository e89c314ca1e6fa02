"""ECG files of any format."""
