"""What is on disk: one module a public database, the downloader and the synthetic ECG generator."""
