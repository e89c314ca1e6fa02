"""Reports: self-contained HTML pages of sections, and Markdown tables."""

from utils.report.page import fill, png_uri, register_section, render_page, write_page

__all__ = ["fill", "png_uri", "register_section", "render_page", "write_page"]
