"""The downloader against a local server that stalls, cuts, corrupts, forgets Range, answers 404 and 500."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from databases.download.fetch import DownloadError, choose_files, parse_checksums
from databases.download.http_files import LOCK, FetchStopped, FileClient, only_download
from databases.ptbxl import Ptbxl
from utils.errors import DataError, TwelveLeadError, UsageError

ROOT = Path(__file__).resolve().parents[2]
SIZE = 24_000


class Server(ThreadingHTTPServer):
    """Serves `files`; `faults[path]` lists what goes wrong at the first, second, ... request of a path."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.faults: dict[str, list[str]] = {}
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/base/"

    def asked(self, path: str) -> list[str | None]:
        """The Range headers with which a path was asked for."""
        return [wanted for asked, wanted in self.requests if asked == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.removeprefix("/base/")
        wanted = self.headers["Range"]
        self.server.requests.append((path, wanted))
        faults = self.server.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        if path not in self.server.files or fault.isdigit():
            self.send_error(int(fault or 404))
            return
        body, start = self.server.files[path], 0
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        same = self.headers.get("If-Range", tag) == tag
        if wanted and self.server.ranges and same and fault != "ignore_range":
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            shown = 0 if fault == "wrong_range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        body = body[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", tag)
        self.end_headers()
        if fault == "corrupt":
            body = body[:100] + bytes([body[100] ^ 1]) + body[101:]
        if fault in ("cut", "stall"):
            self.wfile.write(body[: len(body) * 3 // 4])
            self.wfile.flush()
            if fault == "stall":
                self.server.release.wait(30)
            self.close_connection = True
            return
        self.wfile.write(body)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """A proxy of the network has no business between this machine and itself."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    rng = np.random.default_rng(0)
    files = {
        "ptbxl_database.csv": b"ecg_id\n1\n",
        "scp_statements.csv": b",diagnostic\n",
        "LICENSE.txt": b"CC BY",
    }
    for rate, suffix in ((100, "lr"), (500, "hr")):
        for number in range(1, 5):
            name = f"records{rate}/00000/{number:05d}_{suffix}"
            files[f"{name}.dat"] = rng.bytes(SIZE)
            files[f"{name}.hea"] = f"{name} 12".encode()
    lines = [f"{hashlib.sha256(body).hexdigest()} {path}" for path, body in files.items()]
    files["SHA256SUMS.txt"] = ("\n".join(lines) + "\n").encode()
    with running(files) as server:
        yield server


@contextlib.contextmanager
def running(files: dict[str, bytes]):
    """A server of these files."""
    server = Server(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def get(server, to, **options):
    options = {"workers": 2, "retries": 2, "timeout": 5.0, "backoff": 0.01} | options
    return Ptbxl.download(to, url=server.url, **options)


def on_disk(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != LOCK]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def expected(server, *rates: int) -> dict[str, bytes]:
    folders = tuple(f"records{rate}/" for rate in rates)
    return {k: v for k, v in server.files.items() if k.startswith(folders) or not k.startswith("records")}


def test_download_fetches_everything_once(server, tmp_path):
    first = get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)
    assert (first.fetched, first.kept) == (11, 0) and first.received > 4 * SIZE
    before = len(server.requests)
    second = get(server, tmp_path)
    assert (second.fetched, second.kept, second.received) == (0, 11, 0)
    assert len(server.requests) == before


def test_rates_and_limit_choose_the_records(server, tmp_path):
    get(server, tmp_path / "a", rates=[500, 100])
    assert on_disk(tmp_path / "a") == expected(server, 100, 500)
    get(server, tmp_path / "b", limit=2)
    names = sorted(name for name in on_disk(tmp_path / "b") if name.startswith("records"))
    assert names == [f"records100/00000/0000{n}_lr.{s}" for n in (1, 2) for s in ("dat", "hea")]


def test_download_continues_a_cut_connection_with_range(server, tmp_path):
    path = "records100/00000/00002_lr.dat"
    server.faults[path] = ["cut"]
    get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)
    (first, second) = server.asked(path)
    assert first is None and re.fullmatch(r"bytes=[1-9]\d+-", second)


@pytest.mark.parametrize("later", ["ignore_range", "wrong_range"])
def test_servers_that_cannot_continue_are_asked_from_the_start(server, tmp_path, later):
    path = "records100/00000/00002_lr.dat"
    server.faults[path] = ["cut", later]
    get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)


def test_server_that_never_knows_ranges(server, tmp_path):
    server.ranges = False
    server.faults = {path: ["cut"] for path in server.files if path.endswith(".dat")}
    get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)


def test_stall_ends_and_the_rest_is_continued(server, tmp_path):
    path = "records100/00000/00001_lr.dat"
    server.faults[path] = ["stall"]
    get(server, tmp_path, timeout=0.5)
    assert on_disk(tmp_path) == expected(server, 100)
    assert len(server.asked(path)) == 2


def test_flipped_bits_are_noticed_and_fetched_again(server, tmp_path):
    path = "records100/00000/00003_lr.dat"
    server.faults[path] = ["corrupt"]
    get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)
    assert server.asked(path) == [None, None]


def test_download_replaces_a_damaged_file(server, tmp_path):
    get(server, tmp_path)
    victim = tmp_path / "records100/00000/00003_lr.dat"
    victim.write_bytes(b"x" * SIZE)
    summary = get(server, tmp_path)
    assert (summary.fetched, summary.kept) == (1, 10)
    assert on_disk(tmp_path) == expected(server, 100)


def test_lasting_corruption_never_gets_the_final_name(server, tmp_path):
    path = "records100/00000/00003_lr.dat"
    server.faults[path] = ["corrupt"] * 3
    with pytest.raises(
        DownloadError, match=r"(?s)1 of 11 .*00003_lr\.dat: its SHA-256 is wrong .*delete SHA256SUMS"
    ):
        get(server, tmp_path)
    assert on_disk(tmp_path) == {k: v for k, v in expected(server, 100).items() if k != path}


def test_part_files_of_a_killed_run_are_continued_and_wrong_ones_given_up(server, tmp_path):
    folder = tmp_path / "records100/00000"
    folder.mkdir(parents=True)
    bodies = {n: server.files[f"records100/00000/0000{n}_lr.dat"] for n in (1, 2, 3, 4)}
    (folder / ".00001_lr.dat.part").write_bytes(bodies[1][:5000])  # half
    (folder / ".00002_lr.dat.part").write_bytes(bodies[2])  # complete, killed before the renaming
    (folder / ".00003_lr.dat.part").write_bytes(b"?" * 5000)  # another file's
    (folder / ".00004_lr.dat.part").write_bytes(b"?" * (SIZE + 1))  # longer than the file
    get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)
    assert server.asked("records100/00000/00001_lr.dat") == ["bytes=5000-"]
    assert server.asked("records100/00000/00002_lr.dat") == [f"bytes={SIZE}-"]


def test_download_retries_broken_servers_not_missing_files(server, tmp_path):
    gone, broken = "records100/00000/00001_lr.dat", "records100/00000/00002_lr.dat"
    server.faults = {gone: ["404"] * 9, broken: ["500", "503"]}
    with pytest.raises(DownloadError) as caught:
        get(server, tmp_path)
    message = str(caught.value)
    assert (
        f"{gone}: the server answered 404" in message and "same command" in message and broken not in message
    )
    assert len(server.asked(gone)) == 1 and len(server.asked(broken)) == 3
    server.faults = {}
    summary = get(server, tmp_path)
    assert (summary.fetched, summary.kept) == (1, 10)


def test_download_ends_soon_where_the_server_is_dead(server, tmp_path):
    names = [f"records100/00000/{n:05d}_lr.dat" for n in range(100, 400)]
    server.files["SHA256SUMS.txt"] += "".join(f"{'0' * 64} {name}\n" for name in names).encode()
    with pytest.raises(DownloadError, match=r"(?s)and 10 more.*Stopped after 20 failures in a row"):
        get(server, tmp_path, workers=1)
    assert len(server.requests) < 60


def test_download_without_a_server_is_reported(tmp_path):
    with pytest.raises(DownloadError, match=r"SHA256SUMS\.txt: the server refused the connection"):
        Ptbxl.download(tmp_path, url="http://127.0.0.1:9/", retries=1, backoff=0.01)


def test_login_page_is_not_taken_for_checksums(server, tmp_path):
    server.files["SHA256SUMS.txt"] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match="login page"):
        get(server, tmp_path)
    assert on_disk(tmp_path) == {}


def test_checksum_list_that_was_cut_is_fetched_whole(server, tmp_path):
    server.faults["SHA256SUMS.txt"] = ["cut"]
    get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "line", ["{} a/b.dat", "{}  a/b.dat", "{} *a/b.dat", "{}  ./a/b.dat", "{}\ta/b.dat  "]
)
def test_checksum_lines_in_every_dialect(line):
    text = "\n" + line.format(HASH.upper()) + "\r\n\n"
    assert parse_checksums(text) == {"a/b.dat": HASH}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "C:/x", "a\\..\\..\\x"])
def test_paths_that_leave_the_folder_are_refused(path):
    with pytest.raises(DataError, match="outside"):
        parse_checksums(f"{HASH}  {path}\n")


@given(st.text(max_size=200))
def test_checksum_list_of_any_text_is_parsed_or_refused(text):
    try:
        result = parse_checksums(text)
    except DataError:
        return
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in result.values())


def test_list_of_another_database_is_refused():
    source = Ptbxl.source
    with pytest.raises(DataError, match=r"ptbxl_database\.csv.*PTB-XL 1\.0\.3"):
        choose_files(Ptbxl.title, source, ["a", "b"], [100])
    with pytest.raises(DataError, match="500 Hz"):
        choose_files(Ptbxl.title, source, [*source.tables, "records100/00000/00001_lr.dat"], [500])


@pytest.mark.parametrize(
    "options, word",
    [
        ({"rates": [250]}, "250"),
        ({"limit": 0}, "limit"),
        ({"workers": 0}, "workers"),
        ({"retries": -1}, "retries"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"url": "file:///etc/"}, "http"),
    ],
)
def test_download_impossible_options_are_refused(tmp_path, options, word):
    with pytest.raises(UsageError, match=word):
        Ptbxl.download(tmp_path, **options)


@pytest.mark.skipif(os.name != "posix", reason="locks with flock")
def test_download_locks_its_folder(server, tmp_path):
    with (
        only_download(tmp_path),
        pytest.raises(UsageError, match="another download is running in this folder"),
    ):
        get(server, tmp_path)
    assert server.requests == []
    get(server, tmp_path)  # the lock went with its holder; its file is still there
    assert (tmp_path / LOCK).exists() and on_disk(tmp_path) == expected(server, 100)


def test_download_writes_nothing_after_the_stop(server, tmp_path):
    client = FileClient(server.url, tmp_path)
    name = "records100/00000/00001_lr.dat"
    part = tmp_path / ".part"

    class Late(threading.Event):
        """Set between the answer of the server and its first bytes."""

        def is_set(self):
            return part.exists()

    client.stop = Late()
    with pytest.raises(FetchStopped):
        client._continue(name, part)
    client.close()
    assert part.read_bytes() == b""


@pytest.mark.parametrize(("name", "hint"), [("ptb-xl", "mean 'ptbxl'"), ("synthetic", "Valid: .*mitdb")])
def test_download_names_the_nearest_database(tmp_path, name, hint):
    command = [sys.executable, "-m", "databases.download", name, "--to", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and re.search(hint, done.stderr) and "Traceback" not in done.stderr


def test_target_that_cannot_be_a_folder(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TwelveLeadError, match="cannot write to"):
        get(server, tmp_path / "file")


def command(server, to, *options):
    arguments = ["ptbxl", "--to", str(to), "--url", server.url, "--workers", "1", *options]
    return [sys.executable, "-m", "databases.download", *arguments]


def test_command_line_success_and_failure(server, tmp_path):
    server.faults["records100/00000/00001_lr.hea"] = ["404"]
    failed = subprocess.run(command(server, tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert "00001_lr.hea: the server answered 404" in failed.stderr and "same command" in failed.stderr
    done = subprocess.run(command(server, tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 files fetched" in done.stdout and "CC BY 4.0" in done.stdout
    assert on_disk(tmp_path) == expected(server, 100)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_download_interrupted_can_be_continued(server, tmp_path):
    path = "records100/00000/00001_lr.dat"
    server.faults[path] = ["stall"]
    process = subprocess.Popen(
        command(server, tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    part = tmp_path / "records100/00000/.00001_lr.dat.part"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size >= 8192):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    stored = part.stat().st_size  # how much had come when the signal did, is a matter of time
    assert stored >= 8192 and not part.with_name("00001_lr.dat").exists()
    get(server, tmp_path)
    assert on_disk(tmp_path) == expected(server, 100)
    assert server.asked(path)[-1] == f"bytes={stored}-"
