"""Answers about pictures with the files in this folder, as `lesionflow predict` does. It needs ai-edge-litert, numpy and Pillow.

    python example.py PICTURE... [--network model_float32.tflite]

It prints one line of JSON for each picture, a JPEG or PNG. README.md tells what to port to a phone.
"""

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

HERE = Path(__file__).parent
CONTRACT = "lesionflow.json"
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Color space of the profiles that apply to each of Pillow's modes."""


def main() -> int:
    """Answer about the pictures of the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--network", default="model_float32.tflite", help="a TFLite file of this folder (default: %(default)s)")
    given = parser.parse_args()
    contract = json.loads((HERE / CONTRACT).read_text(encoding="utf-8"))
    engine = Interpreter(model_content=checked(given.network, contract))
    engine.allocate_tensors()
    failed = 0
    for path in given.pictures:
        try:
            pixels = prepare(path.read_bytes(), contract["input"]["size"], contract["input"]["resolution"])
        except (OSError, SyntaxError, ValueError) as fault:
            print(f"error: {path}: {fault}", file=sys.stderr)
            failed += 1
            continue
        mean = np.mean([run(engine, view) for view in views(pixels, contract["views"])], axis=0)
        print(json.dumps({"picture": str(path), **answer(contract, mean)}))
    return 1 if failed else 0


def checked(name: str, contract: dict[str, Any]) -> bytes:
    """The bytes of a file of this folder, if it is as it was exported."""
    if name not in contract["files"]:
        sys.exit(f"error: {CONTRACT} lists no file {name}")
    content = (HERE / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != contract["files"][name]:
        sys.exit(f"error: {name} was changed after it was exported: its sha256 differs from {CONTRACT}. Run `lesionflow export` again")
    return content


def prepare(content: bytes, size: int, resolution: int | None) -> NDArray[np.uint8]:
    """The input of the network from the bytes of a picture: the largest centered square, averaged down, uint8 (size, size, 3)."""
    least = 4 * size if resolution is None else min(4 * size, 2 * resolution)
    image = downsampled(decoded(content, least), resolution)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = (left, top, left + side, top + side)
    # Pillow averages over areas where a picture shrinks
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=square), dtype=np.uint8)


def downsampled(image: Image.Image, resolution: int | None) -> Image.Image:
    """The picture with a centered square of `resolution` pixels, the only sharpness that the network was trained with; or as it is, if it
    has fewer pixels."""
    side = min(image.size)
    if resolution is None or resolution >= side:
        return image
    full, pitch = np.array(image.size), side / resolution
    beside = np.floor((full - side) / 2 / pitch).astype(int)
    half = side / 2 + beside * pitch
    box = (*np.maximum(full / 2 - half, 0), *np.minimum(full / 2 + half, full))
    width, height = (int(length) for length in resolution + 2 * beside)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def decoded(content: bytes, least: int) -> Image.Image:
    """The picture in RGB as a viewer shows it: upright, in sRGB, on white. A JPEG with many more pixels than `least` is decoded smaller."""
    image: Image.Image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    image.draft(None, (least, least))
    image = ImageOps.exif_transpose(image)
    profile, opacity = image.info.get("icc_profile"), None
    if image.has_transparency_data and image.mode != "I;16":
        shown = image.convert("RGBA")
        opacity, image = shown.getchannel("A"), image.getchannel("L") if image.mode in ("L", "LA") else shown.convert("RGB")
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode not in SPACES:
        image = image.convert("RGB" if image.mode == "P" else "L")
    image = in_srgb(image, profile) if profile else image.convert("RGB")
    return Image.composite(image, Image.new("RGB", image.size, "white"), opacity) if opacity else image


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture in sRGB by its color profile. A profile of another color space is ignored, and one that is practically sRGB."""
    plain = image.convert("RGB")
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        if source.profile.xcolor_space.strip() != SPACES[image.mode]:
            return plain
        transform = ImageCms.ImageCmsTransform(source, target, image.mode, "RGB")
    except (OSError, TypeError, ValueError):
        return plain
    levels, bands = np.linspace(0, 255, 9).astype(np.uint8), len(image.getbands())
    grid = np.stack(np.meshgrid(*[levels] * bands), axis=-1).reshape(-1, 1, bands)
    probe = Image.merge(image.mode, [Image.fromarray(grid[..., band]) for band in range(bands)])
    moved = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    return transform.apply(image) if np.abs(moved).max() > 1 else plain


def views(pixels: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """The square as it is, mirrored (2), also both upside down (4), and also all four transposed (8)."""
    found = [pixels]
    if count > 1:
        found += [view[:, ::-1] for view in found]
    if count > 2:
        found += [view[::-1] for view in found]
    if count > 4:
        found += [view.swapaxes(0, 1) for view in found]
    return found


def run(engine: Interpreter, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The probability of each class for one view."""
    engine.set_tensor(engine.get_input_details()[0]["index"], np.ascontiguousarray(pixels, dtype=np.float32)[None])
    engine.invoke()
    return np.asarray(engine.get_tensor(engine.get_output_details()[0]["index"])[0], dtype=np.float64)


def answer(contract: dict[str, Any], mean: NDArray[np.float64]) -> dict[str, Any]:
    """What the probabilities mean by the contract. An abstention withholds the diagnosis and never hides the alarm."""
    classes = [entry["id"] for entry in contract["classes"]]
    named = classes[int((np.log(np.maximum(mean, 1e-30)) + (contract["decision_offsets"] or 0)).argmax())]
    inside = [mean[number] >= threshold for number, threshold in enumerate(contract["set_thresholds"])]
    ranked = [number for number in np.argsort(-mean, kind="stable") if inside and (inside[number] or number == mean.argmax())]
    malignant = sum(float(share) for share, entry in zip(mean, contract["classes"], strict=True) if entry["malignant"])
    reached = {name: malignant >= point["threshold"] for name, point in contract["operating_points"].items()}
    abstained = ["too uncertain"] if mean.max() < contract["abstention_threshold"] else []
    return {
        "alarm": reached.get("triage", False),
        "abstained": abstained,
        "diagnosis": None if abstained else named,
        "malignant_probability": malignant if contract["separates_malignant"] else None,
        "operating_points": reached,
        "prediction_set": [classes[number] for number in ranked] if inside else None,
        "probabilities": dict(zip(classes, mean.tolist(), strict=True)),
    }


if __name__ == "__main__":
    sys.exit(main())
