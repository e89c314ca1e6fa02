"""Start the explorer on this computer: ``twelvelead app``.

twelvelead app                          # the shipped samples, your own files
twelvelead app --data_dir data/ptb      # also the records of a local PTB-XL
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from utils.config import Options, option, parse
from utils.ecg import NOT_A_DEVICE
from utils.errors import UsageError, run_cli

SCRIPT = Path(__file__).with_name("run_streamlit_ecg_app.py")
UPLOAD_MB = 64


@dataclass
class AppOptions(Options):
    """Where the explorer listens and what it finds."""

    data_dir: str = option("data/ptb", "PTB-XL", scope="machine")
    output_dir: str = option(".", "folder with checkpoints/", scope="machine")
    address: str = option("127.0.0.1", "address to listen on; 0.0.0.0 in a container only", scope="machine")
    port: int = option(8501, "port on this computer", min=1, max=65535)
    no_browser: bool = option(False, "True: do not open a browser window")


def server_words(options: AppOptions) -> list[str]:
    """Command line of the server: this computer only, nothing is reported to anybody."""
    if importlib.util.find_spec("streamlit") is None:
        raise UsageError("the explorer needs Streamlit: pip install 'twelvelead[app]' or make venv")
    return [
        *(sys.executable, "-m", "streamlit", "run", str(SCRIPT)),
        *("--server.address", options.address, "--server.port", str(options.port)),
        *("--server.maxUploadSize", str(UPLOAD_MB), "--server.headless", str(options.no_browser).lower()),
        *("--browser.gatherUsageStats", "false", "--client.toolbarMode", "minimal"),
        *("--client.showErrorDetails", "false", "--server.fileWatcherType", "none"),
    ]


def main() -> int:
    """Read the flags and run the server until it is stopped."""
    options = parse(AppOptions, description=__doc__)
    environment = {
        **os.environ,
        "TWELVELEAD_PTBXL": str(Path(options.data_dir).resolve()),
        "TWELVELEAD_OUTPUT": str(Path(options.output_dir).resolve()),
    }
    words = server_words(options)
    print(f"http://127.0.0.1:{options.port} (stop with Ctrl-C)\n{NOT_A_DEVICE}", flush=True)
    with subprocess.Popen(words, env=environment) as server:
        # a container is stopped by SIGTERM, which the server has to get
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            code = server.wait()
        except KeyboardInterrupt:
            return 0
    return 0 if code == -signal.SIGTERM else code


if __name__ == "__main__":
    run_cli(main)
