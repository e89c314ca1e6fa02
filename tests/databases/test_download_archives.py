"""Archives without checksums, from a local server that stalls, cuts, corrupts and replaces them."""

import io
import logging
import re
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from databases.cpsc2019 import Cpsc2019
from databases.cpsc2020 import Cpsc2020
from databases.download.archives import PINS
from databases.download.fetch import DownloadError
from databases.download.http_files import LOCK
from databases.registry import database_class
from tests.databases.test_download import no_proxy, running  # noqa: F401  (a fixture for every test)
from utils.errors import DataError, UsageError
from utils.files import sha256

NAME = "TrainingSet.zip"


def mat(**variables) -> bytes:
    content = io.BytesIO()
    savemat(content, variables)
    return content.getvalue()


def archive(seed=0, name="TrainingSet/{}", more=()) -> bytes:
    """One record of CPSC 2020 with its beats, as the challenge packs it."""
    rng, content = np.random.default_rng(seed), io.BytesIO()
    ref = np.array(
        [[(np.array([[10, 500]]), np.array([[900]]))]], dtype=[("S_ref", object), ("V_ref", object)]
    )
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr(name.format("data/A01.mat"), mat(ecg=rng.normal(size=(4000, 1))))
        packed.writestr(name.format("ref/R01.mat"), mat(ref=ref))
        packed.writestr("__MACOSX/junk", "no record")
        for member in more:
            packed.writestr(member, "x")
    return content.getvalue()


@pytest.fixture
def server():
    with running({NAME: archive()}) as server:
        yield server


def get(server, to, kind=Cpsc2020, **options):
    options = {"retries": 2, "timeout": 5.0, "backoff": 0.01} | options
    return kind.download(to, url=server.url, **options)


def test_archive_is_pinned_by_the_first_download_and_unpacked(server, tmp_path, caplog):
    caplog.set_level(logging.INFO, "databases")
    summary = get(server, tmp_path)
    assert (summary.fetched, summary.kept) == (1, 0) and summary.received == len(server.files[NAME])
    assert "publishes no checksums" in caplog.text and PINS in caplog.text
    assert (tmp_path / PINS).read_text() == f"{sha256(tmp_path / NAME)}  {NAME}\n"
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {NAME, PINS, LOCK, "data/A01.mat", "ref/R01.mat"}
    assert Cpsc2020(tmp_path).annotations("A01").marks.symbols.tolist() == ["S", "S", "V"]
    (tmp_path / "data" / "A01.mat").write_bytes(b"damaged")
    summary = get(server, tmp_path)  # everything is compared, what is missing is unpacked again
    assert (summary.fetched, summary.kept) == (0, 1) and len(server.requests) == 1
    assert len(Cpsc2020(tmp_path).read("A01").signal) == 4000


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_archive_that_was_cut_is_continued(server, tmp_path, fault):
    server.faults[NAME] = [fault]
    get(server, tmp_path, timeout=0.4)
    first, second = server.asked(NAME)
    assert first is None and int(re.fullmatch(r"bytes=(\d+)-", second)[1]) > 0
    assert not list(tmp_path.glob(".Training*"))


def test_archive_of_a_killed_run_is_continued_if_the_server_still_has_it(server, tmp_path):
    server.faults[NAME] = ["cut"]
    with pytest.raises(DownloadError, match=r"cannot fetch .*TrainingSet\.zip: .*it continues"):
        get(server, tmp_path, retries=0)
    server.files[NAME] = archive(seed=1)  # of the same length
    get(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == server.files[NAME]
    assert len(server.asked(NAME)) == 2


def test_archive_with_flipped_bits_is_refused_by_its_own_checksums(server, tmp_path):
    server.faults[NAME] = ["corrupt"]
    with pytest.raises(DownloadError, match=r"TrainingSet\.zip is damaged .*and was deleted"):
        get(server, tmp_path)
    assert not (tmp_path / NAME).exists() and not (tmp_path / PINS).exists()
    get(server, tmp_path)
    assert (tmp_path / "data" / "A01.mat").exists()


def test_archive_that_is_another_one_than_at_first_is_refused(server, tmp_path):
    get(server, tmp_path)
    (tmp_path / NAME).unlink()
    server.files[NAME] = archive(seed=1)
    with pytest.raises(DownloadError, match=f"SHA-256 is wrong.*delete its line in {PINS}"):
        get(server, tmp_path)
    (tmp_path / PINS).unlink()
    get(server, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Please log in</html>", "is damaged .*login page"),
        (archive(name="other/{}x"), "has no file of the database"),
    ],
)
def test_archive_that_is_none_of_the_database_is_refused(server, tmp_path, content, message):
    server.files[NAME] = content
    with pytest.raises((DownloadError, DataError), match=message):
        get(server, tmp_path)
    assert not (tmp_path / "data").exists()


def test_archive_writes_nothing_outside_its_folder(server, tmp_path):
    server.files[NAME] = archive(more=["../../data/A02.mat", "/etc/data/A03.mat"])
    get(server, tmp_path / "inner")
    inside = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*")}
    assert inside == {"inner"}


def test_archive_options_and_formats_that_do_not_apply(server, tmp_path, caplog):
    with pytest.raises(UsageError, match="comes in archives: leave --limit"):
        get(server, tmp_path, limit=3)
    (tmp_path / PINS).write_text("damaged")
    with pytest.raises(DataError, match=r"is damaged .*delete it"):
        get(server, tmp_path)
    caplog.set_level(logging.INFO, "databases")
    server.files["train.rar"] = b"Rar!"
    get(server, tmp_path / "rar", Cpsc2019)
    assert "unpack" in caplog.text and (tmp_path / "rar" / PINS).exists()
    with pytest.raises(UsageError, match="sign the data use agreement"):
        database_class("shhs").download(tmp_path)
