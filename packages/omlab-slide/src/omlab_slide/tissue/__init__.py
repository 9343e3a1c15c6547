"""Where the tissue of a slide is: a mask, and polygons with holes."""

from omlab_slide.tissue.find import METHODS, Finder, Tissue, tissue
from omlab_slide.tissue.polygons import Polygon

__all__ = ["METHODS", "Finder", "Polygon", "Tissue", "tissue"]
