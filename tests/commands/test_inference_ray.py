"""inference.py --engine ray: two local workers, one of which is killed, then the command."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.commands.test_inference import ask, ecg
from tests.helpers.training_files import CLASSES, write_untrained
from training import load_predictor
from utils.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
COUNT = 96
pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for its workers in /proc")


@pytest.fixture
def environment():
    """Ray's own files in a folder of a short name, as it makes sockets there."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    yield os.environ | {"RAY_TMPDIR": folder}
    shutil.rmtree(folder)


def processes_below(parent: int) -> dict[int, str]:
    """Command lines of the processes that a process has started, and of those that they have."""
    parents, titles = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
    below, level = {}, {parent}
    while level := {pid for pid, above in parents.items() if above in level}:
        below |= {pid: titles.get(pid, "") for pid in level}
    return below


def _predicts(title: str) -> bool:
    """Whether a process predicts, or reads for one that does."""
    return "MapWorker" in title or "multiprocessing" in title


def runs(pid: int) -> bool:
    """Whether a process has not ended; one that nobody waits for stays in /proc as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lines(manifest: Path) -> int:
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


@pytest.mark.slow
def test_archive_is_whole_although_a_worker_and_the_command_were_killed(tmp_path, environment):
    out, folder = tmp_path / "out", tmp_path / "in"
    write_untrained(out / "checkpoints" / "ecgnet", "ecgnet", samples=1000)
    folder.mkdir()
    for i in range(COUNT):
        np.save(folder / f"{i:02d}.npy", ecg(seed=i) / 1000)
    (folder / "50.npy").write_bytes(b"damaged")
    words = ["inference.py", "--dir", folder, "--output_dir", out, "--model", "ecgnet", "--no_pictures"]
    words += ["--sampling_rate", 100, "--units", "mV", "--engine", "ray", "--workers", 2, "--shard_size", 2]
    command = [sys.executable, *map(str, words)]
    manifest = out / "results" / "ecgnet" / "archive" / "_manifest.jsonl"

    def wait(process: subprocess.Popen, count: int) -> None:
        while lines(manifest) < count:
            assert process.poll() is None, "the command has ended before its worker was killed"
            time.sleep(0.02)

    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait(process, 4)
    workers = [pid for pid, title in processes_below(process.pid).items() if "MapWorker" in title]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    wait(process, 12)
    started = [pid for pid, title in processes_below(process.pid).items() if _predicts(title)]
    assert len(started) >= 2
    process.kill()
    process.wait()
    for _ in range(600):  # its workers end with the command
        if not any(map(runs, started)):
            break
        time.sleep(0.1)
    assert not any(map(runs, started))
    kept = lines(manifest)
    with open(manifest, "ab") as file:
        file.write(b'{"number": 4')
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "recordings were predicted before" in done.stdout, done.stderr
    assert f"{COUNT - 1} of {COUNT} recordings predicted" in done.stdout and "50.npy" in done.stderr
    assert kept >= 12 and lines(manifest) == COUNT // 2 + 1
    rows = pd.read_parquet(manifest.parent).sort_values("record", ignore_index=True)
    assert rows["record"].tolist() == [f"{i:02d}" for i in range(COUNT)]
    assert rows["error"].notna().tolist() == [i == 50 for i in range(COUNT)]
    signals = np.stack([ecg(seed=i) / 1000 for i in range(COUNT)])
    expected = load_predictor("ecgnet", out).predict(signals)
    expected[50] = np.nan
    np.testing.assert_allclose(rows[CLASSES], expected, atol=3e-6)


def test_ray_writes_no_pictures(tmp_path):
    np.save(tmp_path / "a.npy", ecg() / 1000)
    with pytest.raises(UsageError, match="add --no_pictures"):
        ask(tmp_path, tmp_path, "--engine", "ray")
