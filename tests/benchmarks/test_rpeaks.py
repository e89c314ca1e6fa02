"""The benchmark of the R-peak detectors on small files: resumed, rendered, and what it refuses."""

import numpy as np
import pytest
import scipy.io

from benchmarks.pages import rpeaks as rpeaks_page
from benchmarks.rpeaks import RpeakOptions, run_rpeaks
from utils.errors import UsageError
from utils.files import read_json, write_json


@pytest.fixture
def cpsc2019(tmp_path):
    """Two records of 10 s with a sharp beat every 0.8 s."""
    for part in ("data", "ref"):
        (tmp_path / "cpsc2019" / part).mkdir(parents=True)
    beats = np.arange(300, 4900, 400)
    time = np.arange(5000)
    signal = np.exp(-(((time[:, None] - beats) / 8) ** 2)).sum(axis=1)
    for number in (1, 2):
        scipy.io.savemat(tmp_path / "cpsc2019" / "data" / f"data_0000{number}.mat", {"ecg": signal[:, None]})
        scipy.io.savemat(tmp_path / "cpsc2019" / "ref" / f"R_0000{number}.mat", {"R_peak": beats[:, None]})
    return tmp_path / "cpsc2019"


def test_rpeak_benchmark_scores_resumes_and_renders(cpsc2019, tmp_path):
    options = RpeakOptions(cpsc2019=cpsc2019, detectors=["neurokit"], data=tmp_path)
    path = run_rpeaks(options)
    results = read_json(path)
    result = results["cpsc2019"]["detectors"]["neurokit"]
    assert result["scores"]["25"]["f1"] == result["cpsc2019_score"] == 1
    result["cpsc2019_score"] = 0.5  # what is in the file is not measured again
    write_json(path, results)
    run_rpeaks(RpeakOptions(cpsc2019=cpsc2019, detectors=["neurokit", "sleepecg"], data=tmp_path))
    assert read_json(path)["cpsc2019"]["detectors"]["neurokit"]["cpsc2019_score"] == 0.5
    page = rpeaks_page.page(path)
    assert "| `sleepecg` | **1.0000** [1.0000, 1.0000] | 1.0000 |" in page and "Not a medical device" in page


def test_rpeak_benchmark_refuses_other_records_and_none_at_all(cpsc2019, tmp_path):
    options = RpeakOptions(cpsc2019=cpsc2019, detectors=["neurokit"], data=tmp_path)
    run_rpeaks(options)
    (cpsc2019 / "data" / "data_00002.mat").unlink()
    with pytest.raises(UsageError, match=r"was made of 2 records of cpsc2019, .* has 1: remove it"):
        run_rpeaks(options)
    with pytest.raises(UsageError, match="name at least one database"):
        run_rpeaks(RpeakOptions(data=tmp_path))
