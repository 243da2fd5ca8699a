"""Images and patients of DICOM files."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from app.data import dicom
from app.data.dicom import read_header, read_image
from components.core.errors import LesionflowError, UnreadableImageError
from tests.support.dicom import dicom as make
from tests.support.dicom import dicom_with_jpeg, region
from tests.support.images import encoded, noise

PICTURE = noise(3, 24).resize((24, 16))
PIXELS = np.asarray(PICTURE)
GRAY = np.asarray(PICTURE.convert("L"))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels_of(content: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(read_image(content)))
    assert image.format == "PNG"
    return np.asarray(image)


@pytest.mark.parametrize("more", [b"", b"\0"])
def test_jpeg_is_taken_byte_for_byte(more):
    jpeg = encoded(PICTURE)
    content = make(jpeg + more, "YBR_FULL_422")
    assert read_image(content).startswith(jpeg)
    assert read_image(content)[len(jpeg) :] in (b"", b"\0", b"\0\0")
    assert read_header(content).holds_jpeg


def test_colors_of_8_bits_stay_as_they_are():
    content = make(PIXELS, ICCProfile=PROFILE)
    assert np.array_equal(pixels_of(content), PIXELS)
    assert Image.open(io.BytesIO(read_image(content))).info["icc_profile"] == PROFILE
    assert not read_header(content).holds_jpeg


def test_luminance_and_chrominance_become_rgb():
    content = make(np.asarray(PICTURE.convert("YCbCr")), "YBR_FULL")
    assert np.abs(pixels_of(content).astype(int) - PIXELS).max() <= 4


def test_palette():
    table = {}
    for color in ("Red", "Green", "Blue"):
        levels = np.arange(256, dtype="<u2") * 257
        table[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        table[f"{color}PaletteColorLookupTableData"] = (levels[::-1] if color == "Green" else levels).tobytes()
    shown = pixels_of(make(GRAY, "PALETTE COLOR", **table))
    assert np.array_equal(shown, np.stack([GRAY, 255 - GRAY, GRAY], axis=-1))


def test_gray_levels_are_shown_as_the_file_says():
    assert np.array_equal(pixels_of(make(GRAY, "MONOCHROME2")), GRAY)
    assert np.array_equal(pixels_of(make(GRAY, "MONOCHROME1")), 255 - GRAY)
    wide = GRAY.astype(np.uint16) * 16
    assert np.abs(pixels_of(make(wide, "MONOCHROME2", BitsStored=12, HighBit=11)).astype(int) - GRAY).max() <= 1
    windowed = make(wide, "MONOCHROME2", BitsStored=12, HighBit=11, WindowCenter=1024, WindowWidth=1025)
    assert (pixels_of(windowed)[GRAY < 31] == 0).all() and (pixels_of(windowed)[GRAY > 97] == 255).all()
    rescaled = make(GRAY, "MONOCHROME2", RescaleSlope="2", RescaleIntercept="-100")
    assert np.array_equal(pixels_of(rescaled), GRAY)


def test_header_tells_patient_sex_age_and_site_and_nothing_else():
    names = {"PatientName": "Mustermann^Max", "PatientBirthDate": "19500312", "AccessionNumber": "A1", "PatientComments": "sister of B"}
    header = read_header(
        make(PIXELS, PatientID=" MRN-17 ", PatientSex="F", PatientAge="071Y", AnatomicRegionSequence=region("77568009"), **names)
    )
    assert header.known == {"patient_id": "MRN-17", "sex": "female", "age_approx": "71", "anatom_site_general": "posterior torso"}


@pytest.mark.parametrize(
    ("elements", "known"),
    [
        ({}, {}),
        ({"PatientID": "", "PatientSex": "O", "PatientAge": ""}, {}),
        ({"PatientID": "ANONYMOUS"}, {}),
        ({"PatientID": "unknown", "BodyPartExamined": "SKIN"}, {}),
        ({"PatientAge": "093Y", "PatientSex": "m"}, {"age_approx": "90", "sex": "male"}),
        ({"PatientAge": "007M", "BodyPartExamined": "HAND"}, {"age_approx": "0", "anatom_site_general": "upper extremity"}),
    ],
)
def test_elements_that_say_nothing_stay_out(elements, known):
    assert read_header(make(PIXELS, **elements)).known == known


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated or corrupt"),
        (b"DICM", "truncated or corrupt"),
        (make(PIXELS)[:400], "truncated or corrupt"),
        (make(PIXELS)[:-200], "truncated or corrupt"),
        (dicom_with_jpeg(PICTURE)[:300], "truncated or corrupt"),
        (encoded(PICTURE), "truncated or corrupt"),
        (make(PIXELS.astype(np.uint16)), "it has 16 bits per channel"),
    ],
)
def test_files_that_cannot_be_read(content, message):
    for read in (read_header, read_image):
        with pytest.raises(UnreadableImageError, match=message):
            read(content)


def test_image_with_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr(dicom, "MAX_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="24 x 16 px is more than 100 pixels"):
        read_header(make(PIXELS))


def test_compression_that_is_not_read():
    dataset = dcmread(io.BytesIO(make(PIXELS)))
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([b"pixels"])
    stream = io.BytesIO()
    dataset.save_as(stream)
    with pytest.raises(UnreadableImageError, match="its compression is JPEG-LS Lossless Image Compression, which is not read"):
        read_header(stream.getvalue())


@pytest.mark.parametrize(
    ("elements", "message"),
    [({"NumberOfFrames": 3}, "has 3 frames. Export"), ({"BurnedInAnnotation": "YES"}, "has BurnedInAnnotation YES")],
)
def test_frames_and_names_in_the_pixels_are_refused(elements, message):
    with pytest.raises(LesionflowError, match=message) as error:
        read_header(dicom_with_jpeg(PICTURE, **elements))
    assert not isinstance(error.value, UnreadableImageError)
    assert read_header(dicom_with_jpeg(PICTURE, NumberOfFrames=1, BurnedInAnnotation="NO")).holds_jpeg
