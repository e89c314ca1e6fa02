"""Reports on trained models: one JSON a run, and the page, Markdown and tables that are made of it."""

from explain.report.files import rebuild_report, write_report
from explain.report.scored import Scored, predicted, stored

__all__ = ["Scored", "predicted", "rebuild_report", "stored", "write_report"]
