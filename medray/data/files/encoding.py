"""Which encoding a text file is written in."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from medray.errors import DataError

UTF8_BOM = b"\xef\xbb\xbf"
UTF8 = "utf-8-sig"
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (UTF8_BOM, UTF8),
)
_MIN_EVIDENCE = 5
"""Bytes of characters beyond ASCII that tell an encoding: fewer may be damage in a UTF-8 file."""
_MIN_RATIO = 10
_UTF16_SHARE = 50
_LEGACY = {
    "gb18030": "gb18030", "big5": "big5", "cp932": "cp932", "cp949": "cp949", "euc_jp": "euc_jp",
    "cp1252": "cp1252", "latin_1": "cp1252", "cp1251": "cp1251", "koi8_r": "koi8_r",
}  # fmt: skip
"""Encodings that are looked for, as charset-normalizer calls them, and the codec that reads them."""
_MIN_DISTANCE = 0.08
"""By how much less disorder the best reading must have than the next one, where neither is in a known language."""
_SCRIPTS = {
    "cp949": (("\uac00", "\ud7a3"), 0.9),
    "cp932": (("\u3041", "\u30ff"), 0.1),
    "euc_jp": (("\u3041", "\u30ff"), 0.1),
}
"""Which letters a reading must have, and what share of all letters beyond Latin."""


def detect_encoding(sample: bytes, name: str) -> str:
    """The codec for a file that begins with `sample`; it takes off a byte order mark.

    A byte order mark decides. Without one, a file is UTF-8 when a tenth of its non-ASCII text is: damaged lines are
    then bad rows. Another file's encoding is the one that charset-normalizer finds the most orderly.

    Args:
        sample: the first bytes; may end in the middle of a character.
        name: the file, for the error.

    Returns:
        "utf-8-sig", "utf-16", "gb18030", "big5", "cp932" (Shift-JIS), "cp949" (EUC-KR), "cp1252" (Latin-1), ...

    Raises:
        DataError: two encodings are as likely, or none is.
    """
    for mark, codec in _BOMS:
        if sample.startswith(mark):
            return codec
    if sample and (codec := _without_mark(sample)):
        return codec
    num_valid = num_invalid = 0  # bytes of lines that are not ASCII
    for line in sample.split(b"\n"):
        if not line.isascii():
            is_valid = _decodes(line, "utf-8")
            num_valid += len(line) * is_valid
            num_invalid += len(line) * (not is_valid)
    beyond = sum(byte >= 0x80 for byte in sample)
    if num_invalid <= _MIN_RATIO * num_valid or beyond < _MIN_EVIDENCE:
        return UTF8
    return _legacy(sample, name)


def _without_mark(sample: bytes) -> str | None:
    """UTF-16 without a byte order mark: Latin letters, blanks and line ends have a 0 on one side, few others."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) * _UTF16_SHARE < len(sample) or min(even, odd) * 2 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


class _Reading(NamedTuple):
    """How a sample reads in one encoding, as charset-normalizer measures it."""

    chaos: float
    coherence: float

    def badness(self) -> float:
        """What readings are compared by."""
        return self.chaos - 0.2 * self.coherence

    def is_worse_than(self, best: _Reading) -> bool:
        """True for one with more disorder, or in no known language where the best one is in some."""
        return self.coherence < best.coherence or self.chaos - best.chaos >= _MIN_DISTANCE


def _legacy(sample: bytes, name: str) -> str:
    from charset_normalizer import from_bytes

    found: dict[str, _Reading] = {}
    for piece in _pieces(sample):
        for match in from_bytes(piece, cp_isolation=list(_LEGACY)):
            codec = _LEGACY[match.encoding]
            if _has_its_script(piece, codec):
                reading = _Reading(match.chaos, match.coherence)
                found[codec] = min(found.get(codec, reading), reading, key=_Reading.badness)
    ranked = sorted(found.items(), key=lambda item: (item[1].badness(), item[0]))
    likely = [codec for codec, reading in ranked if not reading.is_worse_than(ranked[0][1])]
    if len(likely) == 1:
        return likely[0]
    shown = (
        f", and may be {' or '.join(likely)}" if likely else " or another encoding that can be told"
    )
    raise DataError(f"{name} is not UTF-8{shown}: set data.encoding, or re-save it as UTF-8")


def _has_its_script(sample: bytes, codec: str) -> bool:
    """True unless the reading lacks what its language is written in: Hangul for Korean, kana for Japanese."""
    if codec not in _SCRIPTS:
        return True
    text = sample.decode(codec, errors="replace")
    script, share = _SCRIPTS[codec]
    letters = [c for c in text if ord(c) >= 0x3041]
    return sum(script[0] <= c <= script[1] for c in letters) >= share * len(letters)


def _pieces(sample: bytes) -> list[bytes]:
    """The sample up to its last line end; a short one also without some bytes, where a character may be cut."""
    lines = sample[: sample.rfind(b"\n") + 1]
    if len(lines) * 4 >= len(sample) * 3:
        return [lines]
    return [sample[: len(sample) - num_bytes] for num_bytes in range(4)]


def _decodes(line: bytes, codec: str) -> bool:
    """True for text in `codec`, even when it ends in the middle of a character."""
    try:
        codecs.getincrementaldecoder(codec)().decode(line)
    except UnicodeDecodeError:
        return False
    return True
