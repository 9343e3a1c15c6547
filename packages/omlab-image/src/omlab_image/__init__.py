"""2-D medical images: pictures and DICOM in, transforms, own data as folders of classes, recipes of training.

Importing this is cheap; what a name needs is imported when the name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab_image.image import Image, LabelMap2D, Source

__version__ = "0.1.0"
__all__ = ["Image", "LabelMap2D", "Source"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'omlab_image' has no attribute {name!r}")
    from omlab_image import image

    return getattr(image, name)
