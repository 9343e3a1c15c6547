"""The kind `embedding`: a vector that stands for an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from omlab.errors import UsageError
from omlab_payloads import checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Embedding:
    """A vector (features,) of float32; `model` is what made it, where that is known.

    Vectors are comparable only where they come from one model.

    Raises `UsageError` where the vector has not one axis, or no entry.
    """

    kind: ClassVar[str] = "embedding"

    vector: NDArray[np.float32]
    model: str = ""

    def __post_init__(self) -> None:
        import numpy as np

        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `is_finite` tells
            vector = np.asarray(self.vector, dtype=np.float32)
        if vector.ndim != 1 or not vector.size:
            raise UsageError(
                f"The vector of an embedding has one axis and at least one entry, not the shape {vector.shape}."
            )
        object.__setattr__(self, "vector", vector)

    @property
    def nbytes(self) -> int:
        """Bytes of the vector."""
        return int(self.vector.nbytes)

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        import numpy as np

        return bool(np.isfinite(self.vector).all())

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        entries = [checked.plain(entry) for entry in self.vector.tolist()]
        return {"vector": entries} | ({"model": self.model} if self.model else {})

    @classmethod
    def from_value(cls, value: Any) -> Embedding:
        """The embedding of `{"vector": [...], "model": ...}`. Raises `UsageError`."""
        found = checked.fields(value, required=("vector",), known=("model",), what="An embedding")
        return cls(
            vector=checked.numbers(found["vector"], name="vector"),  # type: ignore[arg-type]  # made an array
            model=checked.text(found.get("model", ""), name="model"),
        )
