"""The alphabet of ESM-2, PRIME and ESM-1v: 33 tokens, of which PRIME's form of 2023 knows the first 25.

The order is that of fair-esm's `Alphabet` (Rives et al., PNAS 2021), which published weights are numbered by.
"""

from __future__ import annotations

from omlab.errors import InputError

TOKENS = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>")
START, PAD, END, MASK = 0, 1, 2, 32
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
"""The twenty amino acids, in the order of scans and heat maps."""
LETTERS = frozenset(RESIDUES + "XBUZO")
"""What a sequence may hold: also unknown (X), ambiguous (B, Z) and rare ones (U, O)."""
INDEX = {token: number for number, token in enumerate(TOKENS)}
_UNKNOWN = INDEX["X"]


def encode(letters: str, *, vocabulary: int = len(TOKENS)) -> list[int]:
    """Tokens of a sequence: start, residues, end. Letters that a smaller vocabulary lacks become X.

    Raises `InputError` for a letter that is no residue.
    """
    for place, letter in enumerate(letters, start=1):
        if letter not in LETTERS:
            raise InputError(f"Residue {place} is '{letter}', which is no letter of proteins.")
    found = (INDEX[letter] for letter in letters)
    return [START, *(token if token < vocabulary else _UNKNOWN for token in found), END]
