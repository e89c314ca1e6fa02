"""Reports: Markdown tables and self-contained HTML pages."""
