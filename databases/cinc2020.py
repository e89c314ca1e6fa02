"""PhysioNet/CinC Challenge 2020: 43,101 training records of six sources, 12 leads, SNOMED CT codes.

Perez Alday et al., Physiol. Meas. 41, 124003 (2020), doi:10.1088/1361-6579/abc960.
"""

from __future__ import annotations

from databases.base import Source
from databases.challenge_database import ChallengeDatabase
from databases.registry import register_database


@register_database
class Cinc2020(ChallengeDatabase):
    """Training set of 2020 (sources A, Q, I, S, HR and E)."""

    name = "cinc2020"
    title = "PhysioNet/CinC Challenge 2020 1.0.2"
    doi = "10.13026/dvyd-kd57"
    size = 43_101
    lead_count = 12
    rates = (257, 500, 1000)
    year = 2020
    source = Source(
        "https://physionet.org/files/challenge-2020/1.0.2/", {500: r"training/\w+/g\d+/[A-Z]+\d+\.(hea|mat)"}
    )
