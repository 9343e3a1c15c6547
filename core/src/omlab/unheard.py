"""What libraries log of one another, which no user of ours can do anything about."""

from __future__ import annotations

import logging

_UNHEARD = {"torch.utils._pytree": "register_constant"}
"""A logger, and what its lines hold: of torchao's enumerations, which transformers imports where it finds torchao."""


def leave_out_lines() -> None:
    """Leave these lines out from now on; all else of the same loggers is heard as before."""
    for name in _UNHEARD:
        logging.getLogger(name).addFilter(_is_heard)


def _is_heard(record: logging.LogRecord) -> bool:
    return _UNHEARD[record.name] not in str(record.msg)
