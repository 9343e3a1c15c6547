"""From a volume to a label map: resampling, sliding windows, labels at the input's resolution."""
