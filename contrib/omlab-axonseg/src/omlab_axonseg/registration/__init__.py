"""Registration of a brain to an atlas: affine, then non-rigid, each by a network."""
