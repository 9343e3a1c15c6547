"""3-D medical images: NIfTI and DICOM in, NIfTI and DICOM-SEG out, resampling and sliding windows."""

__version__ = "0.1.0"
