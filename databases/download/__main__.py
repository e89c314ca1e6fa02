"""``python -m databases.download``."""

from databases.download.command import main
from utils.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
