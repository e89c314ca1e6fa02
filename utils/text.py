"""Text from files and file names that a console, a table or a picture has to take."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

# Lone surrogates stand for the bytes of a file name that are not UTF-8; nothing can encode them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str, limit: int = 0) -> str:
    r"""Text with control characters and undecodable bytes as ``\xfc``, cut to `limit` characters."""
    if limit and len(text) > limit:
        text = f"{text[:limit]} ..."
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def short_reason(error: BaseException, limit: int = 300) -> str:
    """What an error says, in one line and cut: parsers quote as much of a damaged file as they like."""
    return printable(" ".join(str(error).split()), limit) or type(error).__name__


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Names in a sentence: each cut after 40 characters, and no more than `limit` of them."""
    shown = ", ".join(printable(name, 40) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def encodable(text: str) -> str:
    """Text that UTF-8 can encode: undecodable bytes of file names as escapes, everything else as it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", _escape, text)
    return text


def open_console() -> None:
    """Let standard output and error write any text: what their encoding lacks comes as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a replaced stream, as in notebooks, takes any text
            stream.reconfigure(errors="backslashreplace")
