"""Accounts: who may label, settle and oversee. A token is shown once; the store keeps its digest alone."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["annotator", "adjudicator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
_BYTES = 24
"""Of a token: too many to be guessed, so its digest needs no salt and no slowness."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Somebody who is let in.

    An annotator labels; an adjudicator labels what others escalated or disagree about; an admin sees how far they are
    and how well they agree, and labels nothing.
    """

    name: str
    role: Role


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(_BYTES)


def digest_of(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
