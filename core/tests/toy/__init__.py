"""A toy modality for the tests of core."""
