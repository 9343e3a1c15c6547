"""A right plugin: 1-D signals and the marks on them."""
