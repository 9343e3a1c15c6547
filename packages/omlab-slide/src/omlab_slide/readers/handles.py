"""One open handle a thread: the libraries must not be asked by two threads at once, and handles do not pickle."""

from __future__ import annotations

import threading
from typing import Any

from omlab_slide.readers.reader import Opener, Reader


class Handles:
    """The open slide of each thread, opened when it is first asked for; pickled without any."""

    def __init__(self, opener: Opener) -> None:
        self.opener = opener
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Handles, (self.opener,))

    def get(self) -> Reader:
        """That of this thread. Raises `InputError` where the file cannot be opened any more."""
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = self.opener()
        return reader

    def reopen(self) -> Reader:
        """A new one for this thread: after an error the old one may answer nothing any more."""
        self.close()
        return self.get()

    def close(self) -> None:
        """Let go of that of this thread."""
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is not None:
            self._local.reader = None
            reader.close()
