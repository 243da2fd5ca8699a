"""Reads images and what is known about their patients from DICOM files, with the optional package pydicom."""

import io
import logging
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.core.errors import LesionflowError, UnreadableImageError
from components.data_quality.placeholders import NO_PATIENT
from components.imaging.headers import MAX_PIXELS, decoder_errors

if TYPE_CHECKING:
    from pydicom import Dataset

JPEG_START = b"\xff\xd8\xff"
GRAY_OR_PALETTE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
NO_PERSON = NO_PATIENT | {"anonymous", "anonymized", "anonymised", "anon"}
"""Values of PatientID, in small letters, that name no patient."""
SEXES = {"M": "male", "F": "female"}
OLDEST = 90
"""Age that stands for all higher ones, which would tell who someone is."""
SITES = {
    "head/neck": "HEAD NECK FACE SCALP EAR NOSE CHEEK FOREHEAD 69536005 45048000 89545001 41695006",
    "anterior torso": "CHEST ABDOMEN BREAST 51185008 113345001",
    "posterior torso": "BACK 77568009",
    "upper extremity": "ARM UPPERARM FOREARM ELBOW SHOULDER HAND WRIST FINGER 53120007 40983000 14975008 85562004",
    "lower extremity": "LEG THIGH KNEE CALF ANKLE FOOT TOE 61685007 68367000 30021000 56459004",
}
"""The ISIC Archive's name for each part of the body, with DICOM's terms (BodyPartExamined) and codes (SNOMED CT) for it."""
SITE_OF_TERM = {term: site for site, terms in SITES.items() for term in terms.split()}


@dataclass(frozen=True)
class DicomHeader:
    """What an import takes from a DICOM file beside its pixels."""

    holds_jpeg: bool
    """Whether its image is a JPEG, which is stored byte for byte."""
    known: dict[str, str] = field(default_factory=dict)
    """Patient, sex, age and site, as columns of metadata.csv."""


def read_header(content: bytes) -> DicomHeader:
    """Read and check a DICOM file; its pixels are not decoded.

    Raises:
        UnreadableImageError: not a DICOM file, corrupt, without an image, too large, with colors of 16 bits per channel, or in a
            compression that the installed packages do not read.
        LesionflowError: it has several frames, or a person's data burned into the image. The message is a clause.
    """
    dataset = _read(content)
    with decoder_errors():
        frames = int(dataset.get("NumberOfFrames") or 1)
        burned_in = str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES"
    if frames > 1:
        raise LesionflowError(f"has {frames} frames. Export the right one as PNG or JPEG")
    if burned_in:
        raise LesionflowError("has BurnedInAnnotation YES: its pixels may show a person's name. Mask it, and export the image as PNG")
    with decoder_errors():
        return DicomHeader(_holds_jpeg(dataset), _known(dataset))


def read_image(content: bytes) -> bytes:
    """The image of a DICOM file: its JPEG byte for byte if it holds one, otherwise a PNG of its pixels.

    Gray levels are shown as pydicom does: rescaled, in the window that the file gives. Colors of 8 bits stay as they are.

    Raises:
        UnreadableImageError: see `read_header`.
    """
    from pydicom.encaps import generate_frames

    dataset = _read(content)
    with decoder_errors(), warnings.catch_warnings(action="ignore"):
        if _holds_jpeg(dataset):
            return next(generate_frames(dataset.PixelData, number_of_frames=1))
        levels = _levels(dataset)
        profile = dataset.get("ICCProfile") if levels.ndim == 3 else None
        stream = io.BytesIO()
        Image.fromarray(levels).save(stream, "PNG", icc_profile=profile)
    return stream.getvalue()


def _read(content: bytes) -> "Dataset":
    """The elements of a file whose image can be decoded."""
    from pydicom import dcmread
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import get_expected_length

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it logs values of elements, which name patients
    with decoder_errors(), warnings.catch_warnings(action="ignore"):
        dataset = dcmread(io.BytesIO(content))
        size, colors, syntax = dataset.Rows * dataset.Columns, dataset.PhotometricInterpretation, dataset.file_meta.TransferSyntaxUID
        is_short = not syntax.is_encapsulated and len(dataset.PixelData) < get_expected_length(dataset)
        is_decodable = _holds_jpeg(dataset) or get_decoder(syntax).is_available
    if is_short or not len(dataset.PixelData):
        raise UnreadableImageError("truncated or corrupt: pixels are missing")
    if not is_decodable:
        raise UnreadableImageError(f"its compression is {syntax.name}, which is not read")
    if colors not in GRAY_OR_PALETTE and dataset.BitsAllocated > 8:
        raise UnreadableImageError(f"it has {dataset.BitsAllocated} bits per channel")
    if size > MAX_PIXELS:
        raise UnreadableImageError(f"{dataset.Columns} x {dataset.Rows} px is more than {MAX_PIXELS:,} pixels")
    return dataset


def _holds_jpeg(dataset: "Dataset") -> bool:
    from pydicom.encaps import generate_frames
    from pydicom.uid import JPEGBaseline8Bit

    if dataset.file_meta.TransferSyntaxUID != JPEGBaseline8Bit:
        return False
    return next(generate_frames(dataset.PixelData, number_of_frames=1)).startswith(JPEG_START)


def _known(dataset: "Dataset") -> dict[str, str]:
    patient = str(dataset.get("PatientID") or "").strip()
    found = {
        "patient_id": "" if patient.casefold() in NO_PERSON else patient,
        "sex": SEXES.get(str(dataset.get("PatientSex") or "").strip().upper(), ""),
        "age_approx": _age(str(dataset.get("PatientAge") or "").strip().upper()),
        "anatom_site_general": _site(dataset),
    }
    return {column: value for column, value in found.items() if value}


def _age(text: str) -> str:
    """Years of an age such as 045Y, at most OLDEST; 0 for one in months, weeks or days, and empty for anything else."""
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in tuple("YMWD"):
        return ""
    return str(min(int(number), OLDEST) if unit == "Y" else 0)


def _site(dataset: "Dataset") -> str:
    regions = dataset.get("AnatomicRegionSequence") or []
    terms = [str(region.get("CodeValue") or "") for region in regions] + [str(dataset.get("BodyPartExamined") or "")]
    return next((SITE_OF_TERM[term.strip().upper()] for term in terms if term.strip().upper() in SITE_OF_TERM), "")


def _levels(dataset: "Dataset") -> NDArray[np.uint8]:
    """Gray levels of shape (height, width) or RGB of shape (height, width, 3)."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    pixels = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colors = apply_color_lut(pixels, dataset)[..., :3]
        return (colors >> 8 if colors.dtype.itemsize > 1 else colors).astype(np.uint8)
    if pixels.ndim == 2:
        return _gray(pixels, dataset)
    return pixels.astype(np.uint8, copy=False)


def _gray(pixels: NDArray[Any], dataset: "Dataset") -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    shown = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(np.float64)
    low, high = _range(dataset)
    levels = np.rint((shown - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    return 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


def _range(dataset: "Dataset") -> tuple[float, float]:
    """Lowest and highest level that can be shown."""
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        if tables := dataset.get(name):
            return 0, 2 ** int(tables[0].LUTDescriptor[2]) - 1
    bits = int(dataset.BitsStored)
    stored = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    low, high = sorted(slope * level + intercept for level in stored)
    return low, high
