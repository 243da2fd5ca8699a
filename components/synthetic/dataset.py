"""Write a synthetic dataset of procedural dermoscopy images of the nine diagnoses, for trying the pipeline after cloning.

The images replace a dataset that cannot be distributed. They show the structures by which dermatologists distinguish the diagnoses, but no
patients, and results on them say nothing about real lesions. The same seed gives identical files on one installation.

    python -m components.synthetic.dataset OUT_DIR [--seed N] [--size PX] [--force]
"""

import argparse
import csv
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from components.synthetic.lesions import draw_lesion, paint
from components.synthetic.photograph import photograph

# Imbalanced as in clinics; the rarest class has enough lesions for five folds of a lesion-wise split.
LESIONS_PER_CLASS: dict[str, int] = {
    "actinic_keratosis": 52,
    "basal_cell_carcinoma": 62,
    "dermatofibroma": 40,
    "melanoma": 68,
    "nevus": 75,
    "pigmented_benign_keratosis": 55,
    "seborrheic_keratosis": 60,
    "squamous_cell_carcinoma": 48,
    "vascular_lesion": 42,
}
DIAGNOSES = tuple(LESIONS_PER_CLASS)
IMAGES_PER_LESION = (0.68, 0.24, 0.08)  # probabilities of one, two and three images
JPEG_QUALITY = 90
METADATA_COLUMNS = ("isic_id", "filename", "diagnosis", "lesion_id", "collection", "license")


def write_dataset(folder: Path, lesions_per_class: Mapping[str, int], seed: int = 0, size: int = 128, force: bool = False) -> int:
    """Write `<folder>/<class>/<id>.jpg` and `<folder>/metadata.csv`; the folder appears complete or not at all.

    Args:
        lesions_per_class: number of lesions of each diagnosis. Lesions of one class do not depend on the numbers of others.
        size: width and height of the images in pixels.
        force: replace an earlier synthetic dataset.

    Returns:
        The number of images.

    Raises:
        FileExistsError: the folder exists and `force` is false, or it is not a synthetic dataset.
    """
    if folder.exists() and not (force and _is_sample(folder)):
        reason = "is not a sample that this command wrote" if force else "exists; --force replaces an earlier sample"
        raise FileExistsError(f"{folder} {reason}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        rows = _write_images(partial, lesions_per_class, seed, size)
        with (partial / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([METADATA_COLUMNS, *rows])
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(rows)


def _is_sample(folder: Path) -> bool:
    """Whether a folder contains only synthetic images, so that it can be replaced."""
    try:
        with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
            return {row.get("collection") for row in csv.DictReader(file)} == {"synthetic"}
    except OSError:
        return False


def _write_images(folder: Path, lesions_per_class: Mapping[str, int], seed: int, size: int) -> list[tuple[str, ...]]:
    """Write all images; return the rows of metadata.csv."""
    rows: list[tuple[str, ...]] = []
    lesions = [(diagnosis, number) for diagnosis in DIAGNOSES for number in range(lesions_per_class.get(diagnosis, 0))]
    for count, (diagnosis, number) in enumerate(tqdm(lesions, desc="drawing lesions", unit="lesion", mininterval=1), start=1):
        rng = np.random.default_rng([seed, DIAGNOSES.index(diagnosis), number])
        painting = paint(draw_lesion(diagnosis, rng))
        for _ in range(rng.choice(len(IMAGES_PER_LESION), p=IMAGES_PER_LESION) + 1):
            name = f"SYN_{len(rows) + 1:07d}"
            path = folder / diagnosis / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph(painting, size, rng)).save(path, quality=JPEG_QUALITY, optimize=True)
            rows.append((name, f"{diagnosis}/{name}.jpg", diagnosis, f"SYL_{count:05d}", "synthetic", "CC0-1.0"))
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m components.synthetic.dataset", description="Write a synthetic dermoscopy sample.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="folder to write: one subfolder per diagnosis, and metadata.csv")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other lesions (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, metavar="PX", help="width and height in pixels (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an earlier sample in OUT_DIR")
    options = parser.parse_args(arguments)
    if options.size < 32:
        parser.error(f"--size must be at least 32 pixels; got {options.size}")
    try:
        count = write_dataset(options.folder, LESIONS_PER_CLASS, options.seed, options.size, force=options.force)
    except FileExistsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} images of {sum(LESIONS_PER_CLASS.values())} lesions in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
