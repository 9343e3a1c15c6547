"""N-grams of words: which questions stand in a text, whole or in part."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from omlab_medbench.rows import Key

LEAST = 5
"""Words of a question that can be looked for; shorter ones stand in any text."""
COMMON = 10
"""An n-gram of more questions than that is the wording of their set, not of a question (Brown et al. 2020)."""

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")

Places = dict[Key, set[int]]
"""By question the numbers of its n-grams that were found."""


def words(text: str) -> list[str]:
    """The words of a text: each CJK character, others whole; marks, case and widths of letters do not count."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


class Ngrams:
    """The n-grams of items (questions), to be found in texts.

    An item of fewer than `n` words has one n-gram, all of it; one of fewer than `LEAST` has none.

    Args:
        texts: By item.
        n: Words of an n-gram; 13 is that of GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C).
    """

    def __init__(self, texts: Mapping[Key, str], *, n: int = 13) -> None:
        self.n = n
        wanted: dict[int, dict[tuple[str, ...], list[tuple[Key, int]]]] = {}
        for item, text in texts.items():
            found = words(text)
            size = min(n, len(found))
            if size >= LEAST:
                for place, gram in enumerate(_grams(found, size)):
                    wanted.setdefault(size, {}).setdefault(gram, []).append((item, place))
        self._wanted = {
            size: {gram: at for gram, at in grams.items() if len({item for item, _ in at}) <= COMMON}
            for size, grams in wanted.items()
        }
        self.counts: dict[Key, int] = dict.fromkeys(texts, 0)
        for grams in self._wanted.values():
            for item, _ in (place for at in grams.values() for place in at):
                self.counts[item] += 1

    def find(self, text_words: Sequence[str], into: Places) -> None:
        """Add which n-grams stand in these words."""
        for size, wanted in self._wanted.items():
            for gram in _grams(text_words, size):
                for item, place in wanted.get(gram, ()):
                    into.setdefault(item, set()).add(place)

    def find_in_lines(self, lines: Iterable[str], into: Places) -> None:
        """The same for a text that comes line by line: n-grams go on from one line to the next."""
        carried: list[str] = []
        for line in lines:
            carried += words(line)
            self.find(carried, into)
            carried = carried[-(self.n - 1) :]


def _grams(found: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return zip(*(found[start:] for start in range(size)), strict=False)
