"""The explorer: a page that shows an ECG on paper, what models say about it, and why."""
