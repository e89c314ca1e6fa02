"""Fetch files over HTTP: verified, resumed where they broke off, retried when the network fails."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import requests

from utils.errors import UsageError
from utils.files import sha256

try:
    import fcntl
except ImportError:  # Windows: two downloads into one folder are not detected there
    fcntl = None  # type: ignore[assignment]

LOCK = ".download.lock"
_CHUNK = 8192  # bytes; a broken connection loses at most this much
_LONGEST_PAUSE = 30.0  # seconds between two attempts
_PERMANENT = {400, 401, 403, 404, 405, 410}  # status codes that a retry does not change


class FetchFailure(Exception):
    """A file cannot be fetched; the message says why."""


class FetchStopped(Exception):
    """Raised in the threads of a download that is stopped."""


@contextlib.contextmanager
def only_download(folder: Path) -> Iterator[None]:
    """Lock a folder: two downloads would write the same partial files.

    The lock is released when the process ends, however it ends. Its empty file stays, because a file that is
    removed while another process opens it would lock nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another download is running in this folder ({folder}): wait for it, or end it first"
                ) from error
        yield


class FileClient:
    """Fetch single files, from several threads at once.

    Each thread keeps its connection open: most files are small, so handshakes would dominate.

    ``url``: folder on the server.
    ``folder``: where the files go.
    ``retries``: further attempts for each file.
    ``timeout``: seconds without a byte after which an attempt has failed.
    ``backoff``: seconds before the second attempt; doubled for each further one, at most 30.
    """

    def __init__(
        self,
        url: str,
        folder: str | os.PathLike,
        retries: int = 5,
        timeout: float = 30.0,
        backoff: float = 0.5,
    ):
        self.url = url.rstrip("/") + "/"
        self.folder = Path(folder)
        self.retries, self.timeout, self.backoff = retries, timeout, backoff
        self.stop = threading.Event()
        self._received = 0
        self._lock = threading.Lock()
        self._local = threading.local()
        self._connections: list[requests.Session] = []

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    @property
    def received(self) -> int:
        """Bytes that came over the network so far."""
        return self._received

    def fetch(self, name: str, digest: str | None, resume: bool = False) -> bool:
        """Fetch one file; False if it is already there and verified.

        Without a digest a file is complete when it has its length; with ``resume`` one that is there stays,
        and a part is continued if the server still has the same version of the file.
        """
        path = self.folder / name
        part = path.with_name(f".{path.name}.part")
        version = part.with_suffix(".version") if digest is None and resume else None
        if version is not None and path.is_file():
            return False
        if digest is None and not (version is not None and version.is_file()):
            part.unlink(missing_ok=True)
        elif digest is not None and path.is_file() and sha256(path) == digest:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)

        reason = ""
        for attempt in range(self.retries + 1):
            if attempt:
                self.stop.wait(min(self.backoff * 2 ** (attempt - 1), _LONGEST_PAUSE))
            if self.stop.is_set():
                raise FetchStopped
            try:
                self._continue(name, part, version)
            except requests.RequestException as error:
                reason = _plain(error, self.timeout)
                status = error.response.status_code if error.response is not None else None
                if status in _PERMANENT:
                    raise FetchFailure(reason) from error
                continue
            if digest is None or sha256(part) == digest:
                os.replace(part, path)
                if version is not None:
                    version.unlink(missing_ok=True)
                return True
            part.unlink()
            reason = "its SHA-256 is wrong"
        raise FetchFailure(f"{reason} ({self.retries + 1} attempts)")

    def _continue(self, name: str, part: Path, version: Path | None = None) -> None:
        """Append the missing part of a file; start over where the server does not support ranges.

        ``version``: file with the ETag or date of the part, which the server compares with what it has.
        """
        start = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        if start and version is not None:
            headers["If-Range"] = version.read_text(encoding="latin-1")
        with self._connection().get(
            self.url + urllib.parse.quote(name), headers=headers, stream=True, timeout=self.timeout
        ) as response:
            if response.status_code == 416:  # nothing is missing, or the part is longer than the file
                if version is not None and f"/{start}" not in response.headers.get("Content-Range", ""):
                    part.unlink()
                    raise requests.ConnectionError("the server has another file than before")
                return
            response.raise_for_status()
            continued = response.status_code == 206 and _range_start(response) == start
            if response.status_code == 206 and not continued:
                part.unlink(missing_ok=True)
                raise requests.ConnectionError("the server sent another part of the file than requested")
            if version is not None and not continued:
                known = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
                strong = next((text for text in known if text and not text.startswith("W/")), "none")
                version.write_text(strong, encoding="latin-1")
            with open(part, "ab" if continued else "wb", buffering=0) as file:
                for chunk in response.iter_content(_CHUNK):
                    if self.stop.is_set():  # before writing: another download may hold the folder by now
                        raise FetchStopped
                    file.write(chunk)
                    with self._lock:
                        self._received += len(chunk)

    def _connection(self) -> requests.Session:
        if not hasattr(self._local, "connection"):
            connection = self._local.connection = requests.Session()
            connection.headers["User-Agent"] = "TwelveLead (databases.download)"
            self._connections.append(connection)
        return self._local.connection


def _range_start(response: requests.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _plain(error: requests.RequestException, timeout: float) -> str:
    """The reason in words, without details of the HTTP library."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no data for {timeout:g} s"
    if "Name or service not known" in str(error) or "NameResolution" in str(error):
        return "the server's name is unknown: is the network up?"
    if "refused" in str(error):
        return "the server refused the connection"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.ConnectionError):
        return "the connection was cut"
    return str(error)
