"""Training on volumes: cases, patches, augmentation, the segmentation recipe."""
