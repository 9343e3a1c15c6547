"""Training on volumes: patches, augmentation, the segmentation task."""
