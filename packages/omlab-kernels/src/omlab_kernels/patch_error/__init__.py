"""The squared error of reconstructed patches, of those that were removed or of all."""
