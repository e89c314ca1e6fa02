"""Resumable tables: kills, damage, other inputs and other settings."""

import numpy as np
import pytest

from attribution.engine.store import ResumableTable
from utils.errors import TwelveLeadError, UsageError

SOURCE, SETTINGS = {"maps": "abc"}, {"runs": 5, "fill": "zero"}


def messages(capsys, caplog):
    """What was logged since the last call, whether or not a command has set up its console."""
    text = "".join(capsys.readouterr()) + caplog.text
    caplog.clear()
    return text


def table(path, source=SOURCE, settings=SETTINGS, overwrite=False):
    return ResumableTable(path, source, settings, overwrite)


def filled(path, count=3):
    made = table(path)
    for number in range(count):
        made.append(str(number), {"x": np.arange(2) + number, "y": np.ones((2, 3), np.float32)})
    return made


def test_table_keeps_items_bit_for_bit(tmp_path):
    before = filled(tmp_path / "a.table")
    after = table(tmp_path / "a.table")
    assert list(after.items) == ["0", "1", "2"]
    for key, arrays in before.items.items():
        for name, values in arrays.items():
            assert after.items[key][name].dtype == values.dtype
            assert (after.items[key][name] == values).all()
    after.remove()
    assert not (tmp_path / "a.table").exists() and table(tmp_path / "a.table").items == {}


def test_table_killed_while_it_writes_loses_only_the_running_item(tmp_path, capsys, caplog):
    path = tmp_path / "a.table"
    filled(path, 2)
    whole = len(path.read_bytes())
    filled(tmp_path / "b.table", 3)
    content = (tmp_path / "b.table").read_bytes()
    for end in range(whole + 1, len(content), 97):
        path.write_bytes(content[:end])
        assert list(table(path).items) == ["0", "1"]
        assert "is damaged: 2 finished items" in messages(capsys, caplog)
    resumed = table(path)
    resumed.append("2", {"x": np.arange(2) + 2, "y": np.ones((2, 3), np.float32)})
    assert path.read_bytes() == content


def test_table_reports_damage_and_keeps_items_before_it(tmp_path, capsys, caplog):
    path = tmp_path / "a.table"
    filled(path)
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 41):
        damaged = content.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        items = table(path).items
        assert list(items) in ([], ["0"], ["0", "1"])
        assert f"{path} is damaged: {len(items)} finished items of it are kept" in messages(capsys, caplog)
        assert list(filled(path).items) == ["0", "1", "2"]
        messages(capsys, caplog)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no table", b"\0" * 100, b"[]"])
def test_table_replaces_a_file_of_something_else(tmp_path, content):
    path = tmp_path / "a.table"
    path.write_bytes(content)
    assert table(path).items == {}
    assert list(filled(path).items) == ["0", "1", "2"] == list(table(path).items)


def test_table_of_another_source_is_discarded(tmp_path, capsys, caplog):
    filled(tmp_path / "a.table")
    other = table(tmp_path / "a.table", source={"maps": "other"})
    assert other.items == {} and "a.table was made from other maps" in messages(capsys, caplog)


def test_table_with_other_settings_is_refused_unless_overwritten(tmp_path):
    path = filled(tmp_path / "a.table").path
    with pytest.raises(
        UsageError, match=r"other settings \(runs was 5, is now 9\): replace it with --overwrite"
    ):
        table(path, settings={**SETTINGS, "runs": 9})
    assert list(table(path).items) == ["0", "1", "2"]  # nothing is lost by the refusal
    assert list(table(path, overwrite=True).items) == ["0", "1", "2"]  # nor by an overwrite that resumes
    assert table(path, settings={**SETTINGS, "runs": 9}, overwrite=True).items == {}


def test_table_rows_resume_with_another_chunk(tmp_path):
    calls = []

    def square(part):
        calls.append((part.start, part.stop))
        return {"x": np.arange(part.start, part.stop) ** 2}

    first = table(tmp_path / "a.table")
    first.append("0", square(slice(0, 3)))
    columns = table(tmp_path / "a.table").rows(8, 2, square, disable=True)
    assert columns["x"].tolist() == [n**2 for n in range(8)]
    assert calls == [(0, 3), (3, 5), (5, 7), (7, 8)]
    assert table(tmp_path / "a.table").rows(8, 2, pytest.fail, disable=True)["x"].tolist()[-1] == 49


def test_table_that_cannot_be_written_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TwelveLeadError, match="part of the path is a file"):
        table(tmp_path / "file" / "a.table").append("0", {"x": np.zeros(1)})
