"""Volume Fusion: blocks of one volume mixed into another, and the map of how."""
