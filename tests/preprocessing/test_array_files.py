"""NumPy archives, MATLAB files to version 7.3 and HDF5: which array is taken, and what is refused unread."""

import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import scipy.io

from preprocessing.recordings.external import read_recording
from preprocessing.recordings.search import search_recordings
from tests.helpers.ecg_files import SIGNALS, has_note
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError, UsageError

SHORT = SIGNALS[:1000]


def read(path, rate=500):
    return read_recording(path, rate)


def write_hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.mark.parametrize("name", ["signals", "ECG", "p_signal", "anything"])
def test_npz_with_one_array_and_its_rate(tmp_path, name):
    np.savez_compressed(tmp_path / "x.npz", **{name: SHORT, "fs": 500, "labels": np.arange(5)})
    recording = read_recording(tmp_path / "x.npz")
    np.testing.assert_allclose(recording.signal, SHORT, atol=1e-6)
    assert recording.sampling_rate == 500
    assert has_note(recording, f"The array '{name}' holds the signals")
    assert has_note(recording, "The sampling rate is fs in the file")
    with pytest.raises(UsageError, match="--sampling_rate 250 contradicts the file, which says 500 Hz"):
        read(tmp_path / "x.npz", 250)


def test_npz_with_names_and_unit_is_taken_at_its_word(tmp_path):
    """An order that the file states is never replaced by the standard one."""
    order = [7, 6, 8, 9, 10, 11, 0, 1]
    names = np.array([DISPLAY_NAMES[lead] for lead in order])
    signals = SHORT[:, order].T * 1000
    np.savez(tmp_path / "x.npz", x=signals, lead_names=names, units="uV", sampling_rate=500.0)
    recording = read_recording(tmp_path / "x.npz")
    np.testing.assert_allclose(recording.signal, SHORT, atol=0.0011)  # derived leads are not rounded
    assert has_note(recording, "The leads are named by lead_names in the file")
    assert not has_note(recording, "is assumed")


def test_matlab_and_hdf5_with_names_are_taken_at_their_word(tmp_path):
    order = [1, 0, *range(2, 12)]
    names = [DISPLAY_NAMES[lead] for lead in order]
    cells = np.array(names, dtype=object)
    scipy.io.savemat(tmp_path / "x.mat", {"val": SHORT[:, order].T, "leads": cells, "units": "mV", "fs": 500})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["signals"] = SHORT[:, order]
        file["signals"].attrs["units"] = "mV"
        file["signals"].attrs["fs"] = 500
        file["lead_names"] = names
    for name in ("x.mat", "x.h5"):
        recording = read_recording(tmp_path / name)
        np.testing.assert_allclose(recording.signal, SHORT, atol=1e-6)
        assert recording.sampling_rate == 500 and has_note(recording, "Units are mV, as the file says")


def test_npz_beside_pickled_objects_is_read_without_them(tmp_path):
    np.savez(tmp_path / "x.npz", signals=SHORT, meta=np.array([{"a": 1}], dtype=object))
    np.testing.assert_allclose(read(tmp_path / "x.npz").signal, SHORT, atol=1e-6)


def test_npz_without_a_rate_asks_for_it(tmp_path):
    np.savez(tmp_path / "x.npz", signals=SHORT.T)
    with pytest.raises(UsageError, match="does not say its sampling rate"):
        read_recording(tmp_path / "x.npz")
    np.testing.assert_allclose(read(tmp_path / "x.npz").signal, SHORT, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": SHORT, "b": SHORT}, r"several arrays that may be the signals \(found: a \(1000, 12\), b"),
        ({"a": SHORT[:, :5]}, r"no array of 12 leads \(found: a \(1000, 5\)\).*as 'signals'"),
        ({"signals": SHORT, "fs": 500, "sampling_rate": 250}, "states several sampling rates"),
        ({"signals": SHORT[None]}, "a batch"),
    ],
)
def test_npz_in_doubt_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.npz")


def test_npz_bomb_is_refused_before_it_is_unpacked(tmp_path):
    header = {"descr": "<f8", "fortran_order": False, "shape": (400_000_000, 12)}
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("signals.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1000))
    with pytest.raises(DataError, match="does not hold the array that its header describes"):
        read(tmp_path / "x.npz")
    zeros = 180_000_000  # as many as it says
    with (
        zipfile.ZipFile(tmp_path / "y.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("signals.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, header | {"descr": "|i1", "shape": (zeros // 12, 12)})
        for _ in range(100):
            file.write(bytes(zeros // 100))
    with pytest.raises(DataError, match=r"would take 1\.3 GB of memory: it has 180,000,000 samples"):
        read(tmp_path / "y.npz")


def test_npy_that_declares_more_than_it_holds_is_not_allocated(tmp_path):
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 12)}
        )
    with pytest.raises(DataError, match=r"not a readable \.npy file"):
        read(tmp_path / "x.npy")


def test_matlab_file_with_one_matrix_and_its_rate(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"ecg_signal": SHORT.T, "Fs": 500.0, "name": "text"})
    recording = read_recording(tmp_path / "x.mat")
    np.testing.assert_allclose(recording.signal, SHORT, atol=1e-6)
    assert has_note(recording, "The array 'ecg_signal' holds the signals") and recording.sampling_rate == 500


def test_matlab_structure_with_data(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"ECG": {"sex": "Male", "age": 50, "data": SHORT.T}})
    np.testing.assert_allclose(read(tmp_path / "x.mat").signal, SHORT, atol=1e-6)


def matlab_bomb(rows, columns):
    """A MATLAB 5 file whose compressed matrix declares more than it holds."""

    def element(kind, content):
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    matrix = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", rows, columns))
    matrix += element(1, b"val") + struct.pack("<II", 9, rows * columns * 8 % 2**32) + bytes(2**20)
    packed = zlib.compress(struct.pack("<II", 14, len(matrix)) + matrix)
    return (
        b"MATLAB 5.0 MAT-file".ljust(124)
        + struct.pack("<HH", 0x0100, 0x4D49)[:4]
        + struct.pack("<II", 15, len(packed))
        + packed
    )


def test_matlab_bomb_is_refused_before_it_is_unpacked(tmp_path):
    (tmp_path / "x.mat").write_bytes(matlab_bomb(12, 200_000_000))
    with pytest.raises(DataError, match=r"x\.mat: would take 17\.9 GB of memory"):
        read(tmp_path / "x.mat")


def test_tracings_of_one_recording(tmp_path):
    """The layout of Ribeiro et al. 2020, doi:10.1038/s41467-020-15432-4: (N, T, 12), 400 Hz, no rate."""
    path = write_hdf5(tmp_path / "x.hdf5", tracings=SHORT[None].astype(np.float32))
    with pytest.raises(UsageError, match="does not say its sampling rate"):
        read_recording(path)
    recording = read(path, 400)
    np.testing.assert_allclose(recording.signal, SHORT, atol=1e-6)
    assert has_note(recording, "names no leads: the order I, II")


@pytest.fixture
def several(tmp_path):
    """Three recordings in the layout of CODE-15%, doi:10.5281/zenodo.4916206, told apart by their gain."""
    tracings = np.stack([SHORT * gain for gain in (1.0, 0.5, 0.75)])
    ids = np.array([[1169160], [7], [31]])
    return write_hdf5(tmp_path / "exams.hdf5", tracings=tracings, exam_id=ids, fs=500)


def test_file_of_several_recordings_asks_for_one(several):
    with pytest.raises(DataError, match=r"tracings holds 3 recordings: name one of them, exams.hdf5:0 to"):
        read(several)


@pytest.mark.parametrize(("member", "gain"), [("0", 1.0), ("2", 0.75), ("exam_id=7", 0.5)])
def test_recording_of_several_is_named_by_its_number_or_a_list(several, member, gain):
    recording = read(several.with_name(f"exams.hdf5:{member}"))
    np.testing.assert_allclose(recording.signal, SHORT * gain, atol=1e-6)
    assert recording.name == f"exams:{member}"
    number, exam = {1.0: (0, 1169160), 0.75: (2, 31), 0.5: (1, 7)}[gain]
    assert has_note(recording, rf"Recording {number} of 3, counted from 0 \(exam_id {exam}\)")


@pytest.mark.parametrize("member", ["3", "-1", "x", "exam_id=8", "exam_id=x", "exam_id="])
def test_recording_that_a_file_does_not_hold_is_refused(several, member):
    with pytest.raises(DataError, match=r"holds no recording '.*'; it has 3: exams.hdf5:0 to exams.hdf5:2"):
        read(several.with_name(f"exams.hdf5:{member}"))


def test_list_of_recordings_that_is_not_there_is_refused(several, tmp_path):
    with pytest.raises(DataError, match="has no list 'patient'"):
        read(several.with_name("exams.hdf5:patient=8"))
    np.save(tmp_path / "x.npy", SHORT)
    with pytest.raises(UsageError, match=r"x\.npy is one recording; leave :0 out"):
        read(tmp_path / "x.npy:0")


def test_search_lists_each_recording_of_a_file(several, tmp_path):
    write_hdf5(tmp_path / "one.h5", signals=SHORT)
    (tmp_path / "damaged.h5").write_bytes(b"damaged")
    search = search_recordings([tmp_path])
    names = ["damaged.h5", "exams.hdf5:0", "exams.hdf5:1", "exams.hdf5:2", "one.h5"]
    assert [path.name for path in search.recordings] == names
    assert search.remarks == [f"{several} holds 3 recordings"]
    chosen = [several.with_name("exams.hdf5:2"), tmp_path / "one.h5"]
    assert search_recordings(chosen).recordings == chosen


def test_process_that_reads_files_is_kept_and_started_again(tmp_path, several):
    from preprocessing.recordings.array_process import _READERS

    reader = _READERS["HDF5"]
    read(several.with_name("exams.hdf5:0"))
    first = reader._process
    read(several.with_name("exams.hdf5:1"))
    assert reader._process is first and first.poll() is None
    first.kill()
    first.wait()
    read(several.with_name("exams.hdf5:1"))
    assert reader._process is not first


@pytest.mark.parametrize("name", ["val", "ECG/data"])
def test_matlab_7_3(tmp_path, name):
    """MATLAB stores columns first, so (12, T) is (T, 12) in HDF5, behind a block of its own."""
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file[name] = np.round(SHORT * 1000).astype(np.int16)
        file["fs"] = np.full((1, 1), 500.0)
        file["text"] = np.zeros((12, 50), np.uint16)
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
    content = bytearray((tmp_path / "x.mat").read_bytes())
    content[:128] = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\x02IM"
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(UsageError, match="'ADC units' is not one of voltage"):
        read_recording(tmp_path / "x.mat")
    recording = read_recording(tmp_path / "x.mat", units="1000/mV")
    np.testing.assert_allclose(recording.signal, SHORT, atol=1e-6)
    assert recording.sampling_rate == 500


def test_hdf5_never_reads_another_file(tmp_path):
    (tmp_path / "secret.bin").write_bytes(SHORT.astype("<f8").tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("tracings", (1000, 12), "<f8", external=str(tmp_path / "secret.bin"))
    with pytest.raises(DataError, match="keeps tracings in other files"):
        read(tmp_path / "x.h5")
    write_hdf5(tmp_path / "other.h5", signals=SHORT)
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["signals"] = h5py.ExternalLink("other.h5", "/signals")
    with pytest.raises(DataError, match=r"no array of 12 leads \(found: nothing\)"):
        read(tmp_path / "y.h5")
    with h5py.File(tmp_path / "z.h5", "w") as file:
        layout = h5py.VirtualLayout((1000, 12), "<f8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "signals", (1000, 12))
        file.create_virtual_dataset("signals", layout)
    with pytest.raises(DataError, match="keeps signals in other files"):
        read(tmp_path / "z.h5")


def test_hdf5_bombs_are_refused_before_they_are_unpacked(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("signals", (10**9, 12), "<f8", chunks=(1000, 12), compression="gzip")
    with pytest.raises(DataError, match=r"would take 89\.4 GB of memory"):
        read(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("signals", (1000, 12), "<f8", chunks=(10**7, 12), maxshape=(None, 12))
    with pytest.raises(DataError, match="blocks that are too large"):
        read(tmp_path / "y.h5")


@pytest.mark.parametrize("ending", [".h5", ".mat"])
@pytest.mark.parametrize("cut", [600, 3000])
def test_hdf5_that_is_damaged_names_the_file(tmp_path, ending, cut):
    path = write_hdf5(tmp_path / f"x{ending}", signals=SHORT)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=rf"x\{ending}: not a readable HDF5 file"):
        read(path)


@pytest.mark.parametrize("ending", [".npz", ".mat", ".csv", ".dat", ""])
def test_files_are_recognized_by_content(tmp_path, ending):
    path = write_hdf5(tmp_path / "x.h5", signals=SHORT).rename(tmp_path / f"rec{ending}")
    recording = read(path)
    np.testing.assert_allclose(recording.signal, SHORT, atol=1e-6)
    assert has_note(recording, "The file is HDF5 by its content, whatever its ending")


def test_signal_file_without_its_header_is_not_guessed(tmp_path):
    (tmp_path / "rec.dat").write_bytes(np.arange(12000, dtype="<i2").tobytes())
    with pytest.raises(DataError, match=r"its header rec\.hea is not beside it"):
        read(tmp_path / "rec.dat")
