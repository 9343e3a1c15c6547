"""Instance norm, an addition and an activation in two passes over the volume."""
