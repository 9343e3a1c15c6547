"""An abdominal CT phantom data set, and the demo that uses it."""

__version__ = "0.1.0"
