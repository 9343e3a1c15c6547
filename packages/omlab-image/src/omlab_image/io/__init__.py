"""Pictures and DICOM files, in and out."""
