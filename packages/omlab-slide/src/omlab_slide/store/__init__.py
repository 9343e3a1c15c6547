"""Where bags are kept: our store (zarr), the files of CLAM and TRIDENT (h5, pt), AnnData."""
