"""From the answers to one set to its scores: `compat` as the public code counts, `strict` as it should.

Form         compat                                             strict
letters      list of letters equals the list of the reference   set of letters
text         ROUGE-L, blank answers skipped                     ROUGE-L, a blank answer scores 0
fields-text  as text, the reference as lines `type: entity`     likewise
cloze        every name occurs somewhere                        exactly these names, the longest match
yes-no       a negation anywhere is a no                        the first sentence that decides
entities     micro F1 over sets                                 without blank mentions
relations    micro F1 over sets                                 the same
events       micro F1 over sets, order of lists counts          order does not count
terms        micro F1 over sets, last line, standard terms      every line, other separators
label        macro F1, gold and prediction exchanged            macro F1, the right way round
record       none: the public code stops with an error          micro F1 over (section, text), and ROUGE-L by section
fields       ROUGE-L (the public code's other name for it)      micro F1 over (field, value)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from omlab_medbench import compat, strict
from omlab_medbench.metrics import Tally, macro_tally, mean_tally, rouge_l, set_f1_tally
from omlab_medbench.rows import Answer

METRIC = {
    "letters": "accuracy", "cloze": "accuracy", "yes-no": "accuracy", "text": "ROUGE-L", "fields-text": "ROUGE-L",
    "label": "macro F1",
}  # fmt: skip
"""What the figures are; the other forms have a micro F1."""

Answers = Sequence[Answer]


def compat_tally(form: str, answers: Answers, *, terms: Collection[str] | None = None) -> Tally | None:
    """The score as the public code counts; None where that code cannot give one."""
    predictions, references = [a.prediction for a in answers], [a.reference for a in answers]
    if form == "letters":
        return _accuracy(compat.letters(p) == r for p, r in zip(predictions, references, strict=True))
    if form == "cloze":
        return _accuracy(compat.cloze(p, r) for p, r in zip(predictions, references, strict=True))
    if form == "yes-no":
        return _accuracy(compat.yes_no(p) == r for p, r in zip(predictions, references, strict=True))
    if form in ("text", "fields-text", "fields"):
        texts = [r if form == "text" else _lines(r) for r in references]
        scores = [rouge_l(r, p) if p and r else None for p, r in zip(predictions, texts, strict=True)]
        return mean_tally(scores)
    if form == "label":
        return macro_tally([p.strip() for p in predictions], references)
    if form == "record":
        return None
    return set_f1_tally(references, [_parsed(form, p, terms) for p in predictions])


def strict_tally(form: str, answers: Answers, *, terms: Collection[str] | None = None) -> Tally:
    """The score as a careful reader counts."""
    predictions, references = [a.prediction for a in answers], [a.reference for a in answers]
    if form == "letters":
        return _accuracy(strict.letters(p) == frozenset(r) for p, r in zip(predictions, references, strict=True))
    if form == "cloze":
        known = {name for reference in references for name in reference} | set(terms or ())
        return _accuracy(strict.cloze(p, r, known=known) for p, r in zip(predictions, references, strict=True))
    if form == "yes-no":
        return _accuracy(strict.yes_no(p) == r for p, r in zip(predictions, references, strict=True))
    if form in ("text", "fields-text"):
        texts = [r if form == "text" else _lines(r) for r in references]
        return mean_tally([rouge_l(r, p) if p.strip() else 0.0 for p, r in zip(predictions, texts, strict=True)])
    if form == "label":
        return macro_tally(references, [p.strip() for p in predictions])
    if form == "record":
        return set_f1_tally([_sections(r) for r in references], [_sections(compat.record(p)) for p in predictions])
    if form == "events":
        return set_f1_tally([strict.unordered(r) for r in references], [strict.events(p) for p in predictions])
    if form == "fields":
        return set_f1_tally(references, [_fields(p) for p in predictions])
    if form == "terms":
        return set_f1_tally(references, [_strict_terms(p, terms) for p in predictions])
    return set_f1_tally(references, [strict.without_blanks(_parsed(form, p, terms)) for p in predictions])


def section_scores(answers: Answers) -> dict[str, float]:
    """Mean ROUGE-L by section of records, over the items whose reference has the section."""
    found: dict[str, list[float]] = {}
    for answer in answers:
        predicted = compat.record(answer.prediction)
        for section, text in answer.reference.items():
            score = rouge_l(text, predicted[section]) if predicted.get(section) else 0.0
            found.setdefault(section, []).append(score)
    return {section: sum(scores) / len(scores) for section, scores in found.items()}


def circular_score(answers: Answers) -> float | None:
    """Share of the items that are right in every rotation of their options; None where none was asked in several.

    Source: MMBench's CircularEval (Liu et al. 2023, arXiv:2307.06281).
    """
    right: dict[str, list[bool]] = {}
    for answer in answers:
        hit = strict.letters(answer.prediction) == frozenset(answer.reference)
        right.setdefault(answer.id, []).append(hit)
    asked = [hits for hits in right.values() if len(hits) > 1]
    return sum(map(all, asked)) / len(asked) if asked else None


def _accuracy(hits: Any) -> Tally:
    return mean_tally([float(hit) for hit in hits])


def _parsed(form: str, text: str, terms: Collection[str] | None) -> list[dict[str, Any]]:
    if form == "entities":
        return list(compat.entities(text))
    if form == "relations":
        return list(compat.relations(text))
    if form == "events":
        return list(compat.events(text))
    return list(compat.terms(text, known=terms))


def _strict_terms(text: str, known: Collection[str] | None) -> list[dict[str, Any]]:
    words = [word.strip() for word in re.split("[,，、;；\n]", text)]  # noqa: RUF001 - marks of Chinese texts
    kept = [word for word in dict.fromkeys(words) if word and (known is None or word in known)]
    return [{"entity": word, "type": "normalization"} for word in kept]


def _fields(text: str) -> list[dict[str, Any]]:
    pairs = [re.split("[:：]", line, maxsplit=1) for line in text.splitlines()]  # noqa: RUF001 - marks of Chinese texts
    return [
        {"type": pair[0].strip(), "entity": pair[1].strip()} for pair in pairs if len(pair) == 2 and pair[1].strip()
    ]


def _sections(record: dict[str, str]) -> list[dict[str, Any]]:
    return [{"type": name, "entity": text.strip()} for name, text in record.items() if text.strip()]


def _lines(reference: Sequence[dict[str, str]]) -> str:
    return "".join(f"{row['type']}{compat.WIDE_COLON}{row['entity']}\n" for row in reference)
