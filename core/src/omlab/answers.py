"""What a verb gives, for models that answer case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from omlab.errors import OmlabError

Asked = TypeVar("Asked")
Given = TypeVar("Given")


def one_by_one(batch: Iterable[Asked], answer: Callable[[Asked], Given]) -> Iterator[Given | OmlabError]:
    """The answer to each case of a batch as it is asked for; the `OmlabError` of one that fails stands in its place.

    ```python
    def predict(self, batch, /):
        return one_by_one(batch, lambda inputs: self.segment(omlab.take(inputs, "volume", Volume)))
    ```
    """
    for asked in batch:
        try:
            yield answer(asked)
        except OmlabError as error:
            yield error
