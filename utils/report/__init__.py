"""Reports: self-contained HTML pages of sections, and Markdown."""

from utils.report.page import fill, register_section

__all__ = ["fill", "register_section"]
