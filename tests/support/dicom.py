"""Makes small DICOM files."""

import io
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from tests.support.images import encoded

VL_PHOTOGRAPHIC = UID("1.2.840.10008.5.1.4.1.1.77.1.4")


def dicom(pixels: np.ndarray | bytes, interpretation: str = "RGB", **elements: Any) -> bytes:
    """A DICOM file.

    Args:
        pixels: an array of shape (height, width) or (height, width, 3) in 8 or 16 bits, stored without compression, or a JPEG.
        interpretation: the photometric interpretation.
        elements: further elements, by keyword.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = VL_PHOTOGRAPHIC, generate_uid()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if isinstance(pixels, bytes) else ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    levels = np.asarray(Image.open(io.BytesIO(pixels))) if isinstance(pixels, bytes) else pixels
    dataset.Rows, dataset.Columns = levels.shape[:2]
    dataset.SamplesPerPixel = 1 if levels.ndim == 2 else levels.shape[2]
    if dataset.SamplesPerPixel > 1:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = interpretation
    dataset.BitsAllocated = dataset.BitsStored = 8 * levels.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    for name, value in elements.items():
        setattr(dataset, name, value)
    if isinstance(pixels, bytes):
        dataset.PixelData = encapsulate([pixels])
        dataset["PixelData"].VR = "OB"
    else:
        dataset.PixelData = levels.astype(levels.dtype.newbyteorder("<")).tobytes()
        dataset["PixelData"].VR = "OW" if levels.dtype.itemsize > 1 else "OB"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dicom_with_jpeg(image: Image.Image, **elements: Any) -> bytes:
    """A DICOM file that holds the image as a JPEG."""
    return dicom(encoded(image), "YBR_FULL_422", **elements)


def region(code: str) -> list[Dataset]:
    """The value of AnatomicRegionSequence with one code."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "a part of the body"
    return [item]
