"""Tokens as BERT's basic tokenizer makes them, and the longest common subsequence of two token lists."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def tokens(text: str) -> list[str]:
    """Each CJK character and each mark of punctuation a token, other words whole, lower case, without accents."""
    spaced = []
    for letter in unicodedata.normalize("NFC", text):
        if letter in "\0\ufffd" or (unicodedata.category(letter).startswith("C") and letter not in "\t\n\r"):
            continue
        spaced.append(f" {letter} " if _is_cjk(letter) else letter)
    found: list[str] = []
    for word in "".join(spaced).split():
        plain = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
        found += "".join(f" {letter} " if _is_punctuation(letter) else letter for letter in plain).split()
    return found


def _is_cjk(letter: str) -> bool:
    return any(low <= ord(letter) <= high for low, high in _CJK)


def _is_punctuation(letter: str) -> bool:
    """Everything printable in ASCII that is neither letter, digit nor space counts, `$` and `^` included."""
    if letter.isascii():
        return letter.isprintable() and not letter.isalnum() and letter != " "
    return unicodedata.category(letter).startswith("P")


def common_length(one: Sequence[str], two: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel: a row of the table is one integer, so that long records take linear many operations
    (H. Hyyrö, Bit-parallel LCS-length computation revisited, AWOCA 2004).
    """
    places: dict[str, int] = {}
    for n, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << n
    whole = (1 << len(one)) - 1
    row = whole
    for token in two:
        match = row & places.get(token, 0)
        row = ((row + match) | (row - match)) & whole
    return len(one) - row.bit_count()
