"""One reader a file; each registers its format, see `preprocessing.recordings.formats`."""
