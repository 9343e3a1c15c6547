"""Own data of volumes: folders in nnU-Net's layout."""
