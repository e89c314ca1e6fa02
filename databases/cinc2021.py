"""PhysioNet/CinC Challenge 2021: 88,253 training records of seven sources, 12 leads, SNOMED CT codes.

Reyna et al., Computing in Cardiology 48 (2021), doi:10.23919/CinC53138.2021.9662687.
"""

from __future__ import annotations

from databases.base import Source
from databases.challenge_database import ChallengeDatabase
from databases.registry import register_database


@register_database
class Cinc2021(ChallengeDatabase):
    """Training set of 2021 (all of `challenge_database.SOURCES`)."""

    name = "cinc2021"
    title = "PhysioNet/CinC Challenge 2021 1.0.3"
    doi = "10.13026/34va-7q14"
    size = 88_253
    lead_count = 12
    rates = (257, 500, 1000)
    year = 2021
    source = Source(
        "https://physionet.org/files/challenge-2021/1.0.3/", {500: r"training/\w+/g\d+/[A-Z]+\d+\.(hea|mat)"}
    )
