"""SAM-Med3D: click-prompted segmentation of volumes (Wang et al. 2023): the network and its published weights."""

__version__ = "0.1.0"
