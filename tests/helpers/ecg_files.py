"""An ECG of one's own in every format, for tests."""

import re
import warnings

import edfio
import numpy as np

from databases.wfdb_files import import_wfdb
from preprocessing.recordings.limb_leads import derive_limb_leads
from utils.ecg import DISPLAY_NAMES, LEADS


def make_signals(rate: float = 500, seconds: float = 10) -> np.ndarray:
    """A smooth 12-lead ECG in mV, (T, 12): 72 beats a minute, limb leads from I and II, in whole uV."""
    phase = (np.arange(round(seconds * rate)) / rate * 1.2) % 1.0

    def wave(center, width, height):
        return height * np.exp(-0.5 * ((phase - center) / width) ** 2)

    lead_i = wave(0.2, 0.03, 0.1) + wave(0.4, 0.012, 0.7) - wave(0.43, 0.012, 0.1) + wave(0.7, 0.05, 0.2)
    lead_ii = wave(0.2, 0.03, 0.16) + wave(0.41, 0.014, 1.1) - wave(0.38, 0.008, 0.15) + wave(0.71, 0.05, 0.3)
    chest = [
        wave(0.4, 0.01, r) - wave(0.43, 0.015, s) + wave(0.7, 0.05, 0.3)
        for r, s in zip((0.2, 0.5, 0.8, 1.2, 1.3, 1.0), (1.0, 1.4, 1.0, 0.6, 0.3, 0.1), strict=True)
    ]
    leads = {"I": lead_i, "II": lead_ii} | derive_limb_leads(lead_i, lead_ii)
    return np.round(np.stack([leads[k] for k in LEADS[:6]] + chest, axis=1), 3)


SIGNALS = make_signals()


def write_csv(path, signals=SIGNALS, names=DISPLAY_NAMES, time=None, delimiter=",", decimal=".", digits=3):
    header, columns = list(names), signals
    if time is not None:
        header, columns = [time[0], *header], np.column_stack([time[1], signals])
    lines = [delimiter.join(header)]
    lines += [delimiter.join(f"{v:.{digits}f}" for v in row) for row in columns]
    path.write_text("\n".join([lines[0]] + [line.replace(".", decimal) for line in lines[1:]]) + "\n")
    return path


def quiet_write(write, *args, **kwargs):
    """wfdb 4.3 writes (but does not read) by calls that pandas 3.1 deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        write(*args, **kwargs)


def write_wfdb(
    folder, signals=SIGNALS, names=DISPLAY_NAMES, rate=500, fmt="16", gain=1000.0, units="mV", name="rec"
):
    count = signals.shape[1]
    quiet_write(
        import_wfdb().wrsamp,
        name,
        fs=rate,
        units=[units] * count,
        sig_name=list(names),
        p_signal=np.asarray(signals, np.float64),
        fmt=[fmt] * count,
        adc_gain=[gain] * count,
        baseline=[0] * count,
        write_dir=str(folder),
    )
    return folder / f"{name}.hea"


def write_edf(path, signals=SIGNALS, names=DISPLAY_NAMES, rate=500, unit="mV", rates=None):
    channels = [
        edfio.EdfSignal(
            np.asarray(signals)[:, i],
            (rates or {}).get(name, rate),
            label=f"ECG {name}",
            physical_dimension=unit,
            physical_range=(-32.768, 32.767) if unit == "mV" else (-32768, 32767),
        )
        for i, name in enumerate(names)
    ]
    edfio.Edf(channels, annotations=[edfio.EdfAnnotation(1.0, None, "start")]).write(path)
    return path


def has_note(recording, pattern):
    return any(re.search(pattern, note) for note in recording.notes)
