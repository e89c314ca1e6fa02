"""Random damage: bytes flipped, cut, copied, and numbers replaced by extreme ones."""

from __future__ import annotations

import random
import re

LONGEST = 65536
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_WORDS = (
    *(
        b"0",
        b"-1",
        b"1",
        b"1e9",
        b"-1e9",
        b"1e400",
        b"nan",
        b"inf",
        b"99999999999",
        b"4294967296",
        b"9" * 400,
    ),
    *(
        b"../secret",
        b"/etc/passwd",
        b"..\\secret",
        b"\x00",
        b"\xff\xfe",
        b"\xe9",
        b"",
        b" ",
        b"\n",
        b"[" * 300,
    ),
    *(b"I", b"II", b"V1", b"aVR", b"mV", b"uV", b"null", b"true", b"{", b"}", b"*a", b"&a", b"~"),
)


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Damage an input in one to four places."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        if rng.random() < 0.5:  # the beginning, where headers are
            at = min(at, rng.randrange(300))
        length = rng.choice((1, 1, 2, 4, 8, 64, 1000))
        kind = rng.randrange(7)
        if kind == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + rng.choice(_WORDS) + data[at + rng.choice((0, length)) :]
        elif kind == 3:
            data = data[:at] + data[at : at + length] * rng.randint(2, 4) + data[at + length :]
        elif kind == 4:
            source = rng.choice(others)
            start = rng.randrange(len(source) + 1)
            data = data[:at] + source[start : start + length] + data[at + length :]
        elif kind == 5:
            data = (
                data[:at] if rng.random() < 0.3 else data[:at] + rng.randbytes(length) + data[at + length :]
            )
        else:
            numbers = list(_NUMBER.finditer(data[:4000]))
            if numbers:
                chosen = rng.choice(numbers)
                data = data[: chosen.start()] + rng.choice(_WORDS) + data[chosen.end() :]
    return data[:LONGEST]
