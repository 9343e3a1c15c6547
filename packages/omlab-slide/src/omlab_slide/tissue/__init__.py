"""Where the tissue of a slide is: `tissue(slide, method=...)` gives a mask and polygons (`omlab_slide.tissue.find`)."""
