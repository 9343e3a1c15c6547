"""Whole slides: readers, tissue, quality, patch grids, stain normalisation, bags of features.

Importing this is cheap; what a name needs is imported when the name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab_slide.bag import Bag
    from omlab_slide.slide import Level, Slide, open_slide

__version__ = "0.1.0"
__all__ = ["Bag", "Level", "Slide", "open_slide"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'omlab_slide' has no attribute {name!r}")
    from omlab_slide import bag, slide

    return getattr(bag if name == "Bag" else slide, name)
