"""``python -m attribution.report``."""

from attribution.report.command import main
from utils.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
