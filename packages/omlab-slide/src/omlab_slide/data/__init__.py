"""Tables of slides as data sets."""
