"""The command that starts the explorer."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from training.checkpoint import ROOT


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_server_ends_with_the_command_that_started_it():
    port = free_port()
    words = [sys.executable, "-m", "explorer.command", "--no_browser", "True", "--port", str(port)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
        try:
            deadline = time.monotonic() + 120
            while not answers(port) and time.monotonic() < deadline:
                time.sleep(0.5)
            assert answers(port)
            command.send_signal(signal.SIGTERM)
            assert command.wait(60) == 0
            assert not answers(port)
        finally:
            command.kill()
