"""Result folders of the study: their windows, model, settings and unfinished work."""
