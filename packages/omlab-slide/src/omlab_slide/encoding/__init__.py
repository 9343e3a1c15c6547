"""From an encoder of images to one of slides: `SlideEncoder` takes slides and gives bags of its features."""

from omlab_slide.encoding.slide_encoder import SlideEncoder

__all__ = ["SlideEncoder"]
