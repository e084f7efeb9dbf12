"""UTF-8 or GB18030: which of the two a file is written in."""

from __future__ import annotations

import codecs
import re

from medray.errors import DataError

UTF8_BOM = b"\xef\xbb\xbf"
_MIN_EVIDENCE = 4
"""Chinese characters that a GB18030 reading must give: fewer may be damage in a UTF-8 file."""
_MIN_RATIO = 10
_COMMON_HAN = re.compile(r"[\u4e00-\u9fff]")
_UNCOMMON = re.compile(
    r"[^\x00-\x7f\u4e00-\u9fff\u3000-\u303f\uff00-\uffef\u2000-\u2fff\u00b0-\u00f7]"
)


def detect_encoding(sample: bytes, name: str) -> str:
    """The codec for a file that begins with `sample`; it takes off a byte order mark.

    Only a short line of GB18030 is valid UTF-8 by accident. So a file is GB18030 when hardly any of its
    non-ASCII lines are valid UTF-8 and it reads as Chinese text; else it is UTF-8, damaged lines included.

    Args:
        sample: the first bytes; may end in the middle of a character.
        name: the file, for the error.

    Returns:
        "utf-8-sig" or "gb18030".

    Raises:
        DataError: the file is UTF-16.
    """
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{name} is UTF-16: re-save the file as UTF-8")
    if sample.startswith(UTF8_BOM):
        return "utf-8-sig"
    num_valid = num_invalid = 0  # bytes of lines that are not ASCII
    for line in sample.split(b"\n"):
        if not line.isascii():
            is_valid = _is_utf8(line)
            num_valid += len(line) * is_valid
            num_invalid += len(line) * (not is_valid)
    is_chinese = num_invalid > _MIN_RATIO * num_valid and _reads_as_chinese(sample)
    return "gb18030" if is_chinese else "utf-8-sig"


def _reads_as_chinese(sample: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)
    except UnicodeDecodeError:
        return False
    common = len(_COMMON_HAN.findall(text))
    return common >= _MIN_EVIDENCE and common > 4 * len(_UNCOMMON.findall(text))


def _is_utf8(line: bytes) -> bool:
    """True for UTF-8, even when the sample ends in the middle of a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)
    except UnicodeDecodeError:
        return False
    return True
