"""Files at the edges: NIfTI, DICOM, DICOM-SEG, NRRD and MetaImage into payloads and back."""
