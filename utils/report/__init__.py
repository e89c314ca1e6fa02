"""Reports: self-contained HTML pages of sections, and Markdown tables."""

from utils.report.page import fill, register_section, render_page, write_page

__all__ = ["fill", "register_section", "render_page", "write_page"]
