"""Where the trials of a study are kept: a journal or SQLite file, a database server, Optuna's proxy."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileOpenLock

from training.experiments.journal import TolerantJournal
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.text import short_reason

_SQLITE = "sqlite:///"
_DRIVERS = {
    "postgresql": "pip install 'psycopg[binary]', and write postgresql+psycopg://",
    "mysql": "pip install pymysql, and write mysql+pymysql://",
    "mariadb": "pip install pymysql, and write mariadb+pymysql://",
}
_PORT, _PATIENCE = 13000, 10.0  # of Optuna's proxy; seconds


def open_storage(url: str, journal: Path, study: str) -> BaseStorage:
    """Open the storage that ``--storage`` names; the journal file for none.

    Raises
    ------
    UsageError
        Not a storage, its driver is not installed, or its password is in the address.
    DataError
        A file that is not an SQLite database.
    TwelveLeadError
        The server does not answer.
    """
    scheme = url.partition("://")[0]
    if not url:
        return _open_journal(journal, study)
    if url.startswith(_SQLITE) and url != _SQLITE:
        return _open_sqlite(url)
    if re.search(r"//[^/@]*:[^/@]*@", url):
        raise UsageError(
            "--storage: the password would be written into settings.yaml and model cards: leave it out; "
            "PostgreSQL reads PGPASSWORD or ~/.pgpass, MySQL ?read_default_file=~/.my.cnf"
        )
    if scheme == "grpc":
        return _open_proxy(url)
    if scheme.partition("+")[0] in _DRIVERS:
        return _open_server(url)
    raise UsageError(
        f"--storage {url}: give sqlite:///FILE, postgresql://USER@HOST/DATABASE, mysql://..., "
        "grpc://HOST:PORT, or nothing for the journal in the study's folder"
    )


def _open_journal(path: Path, study: str) -> BaseStorage:
    lock = JournalFileOpenLock(str(path))
    if path.exists():
        # A worker that died while it wrote (a full disk) leaves half a line, which would spoil the next one.
        lock.acquire()
        try:
            content = path.read_bytes()
            if content and not content.endswith(b"\n"):
                os.truncate(path, content.rfind(b"\n") + 1)
        finally:
            lock.release()
    return JournalStorage(TolerantJournal(path, study, lock))


def _open_sqlite(url: str) -> BaseStorage:
    path = Path(url.removeprefix(_SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes()[:15] not in (b"", b"SQLite format 3"):
        raise DataError(f"{path} is not an SQLite database: choose another --storage")
    return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})


def _open_server(url: str) -> BaseStorage:
    """A database server; connections that were idle for hours are checked before they are used."""
    try:
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        scheme = url.partition("://")[0].partition("+")[0]
        raise UsageError(f"--storage {url}: its driver is not installed: {_DRIVERS[scheme]}") from error
    except Exception as error:  # each driver has errors of its own
        raise TwelveLeadError(
            f"--storage {url} cannot be opened ({short_reason(error)}): check host, user and database"
        ) from error


def _open_proxy(url: str) -> BaseStorage:
    match = re.fullmatch(r"grpc://([^/:]+|\[[^]]+\])(?::(\d{1,5}))?/?", url)
    if match is None:
        raise UsageError(f"--storage {url}: the address of a proxy is grpc://HOST:PORT")
    try:
        from optuna.storages import GrpcStorageProxy

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = GrpcStorageProxy(host=match[1], port=int(match[2] or _PORT))
        proxy.wait_server_ready(timeout=_PATIENCE)
    except ImportError as error:
        raise UsageError(f"--storage {url} needs gRPC: pip install grpcio protobuf") from error
    except ConnectionError as error:
        raise TwelveLeadError(
            f"--storage {url}: no proxy answers there; start one with optuna.storages.run_grpc_proxy_server"
        ) from error
    return proxy
