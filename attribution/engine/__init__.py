"""Folders of maps and the work that fills them."""
