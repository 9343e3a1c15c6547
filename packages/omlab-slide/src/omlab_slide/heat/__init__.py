"""Heat maps of slides (kind `heat-map`): scores by patch, as picture, cells for QuPath, pyramid, and patches."""

from omlab_slide.heat.heat_map import HeatMap

__all__ = ["HeatMap"]
