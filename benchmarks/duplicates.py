"""Measure recall, false pairs and speed of the near-duplicate search.

    python -m benchmarks.duplicates SMALL LARGE

SMALL and LARGE are folders with metadata.csv (filename, lesion_id). Altered copies of 500 images of SMALL are used to choose the
threshold; the reported results are measured on 500 other images. Speed is measured on LARGE and on blends of its thumbnails.
"""

import io
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image, ImageEnhance

from benchmarks.harness import machine
from components.data_quality import near_duplicates
from components.imaging import images
from components.imaging.appearance import THUMBNAIL_SIZE, thumbnail

IMAGES = 500
THRESHOLDS = (0.65, 0.70, 0.75, 0.80, 0.85)
SIZES = (3_000, 12_165, 48_660)


def saved(image: Image.Image, quality: int = 90) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return images.decode(stream.getvalue())


def scaled(share: float, image: Image.Image) -> Image.Image:
    return image.resize((round(image.width * share), round(image.height * share)))


def cropped(margin: float, x: float, y: float, image: Image.Image) -> Image.Image:
    """Crop `margin` of each side's length in total, with share x of it from the left and share y from the top."""
    width, height = round(image.width * margin), round(image.height * margin)
    left, top = round(width * x), round(height * y)
    return image.crop((left, top, left + image.width - width, top + image.height - height))


def turned(how: Image.Transpose, image: Image.Image) -> Image.Image:
    return image.transpose(how)


def brightened(factor: float, image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized 0.5x": partial(scaled, 0.5),
    "resized 0.75x": partial(scaled, 0.75),
    "recompressed, quality 40": partial(saved, quality=40),
    "recompressed, quality 70": partial(saved, quality=70),
    "mirrored left to right": partial(turned, Image.Transpose.FLIP_LEFT_RIGHT),
    "mirrored top to bottom": partial(turned, Image.Transpose.FLIP_TOP_BOTTOM),
    "rotated by 90": partial(turned, Image.Transpose.ROTATE_90),
    "rotated by 180": partial(turned, Image.Transpose.ROTATE_180),
    "rotated by 270": partial(turned, Image.Transpose.ROTATE_270),
    "cropped 5 %, centre": partial(cropped, 0.05, 0.5, 0.5),
    "cropped 5 %, corner": partial(cropped, 0.05, 0.0, 1.0),
    "cropped 3 %, left": partial(cropped, 0.03, 1.0, 0.5),
    "cropped 5 % on each side": partial(cropped, 0.10, 0.5, 0.5),
    "brightened 1.1x": partial(brightened, 1.1),
    "brightened 1.2x": partial(brightened, 1.2),
    "brightened 1.3x": partial(brightened, 1.3),
    "darkened 0.8x": partial(brightened, 0.8),
}


def thumbnails_of(path: Path) -> bytes:
    """Thumbnails of an image and of each altered copy, all saved as JPEG."""
    image = images.decode(path.read_bytes())
    return b"".join(thumbnail(one) for one in [image, *(saved(alter(image)) for alter in KINDS.values())])


def plain(path: Path) -> bytes:
    return thumbnail(images.decode(path.read_bytes()))


def gathered(work: Callable[[Path], bytes], paths: list[Path]) -> np.ndarray:
    with ProcessPoolExecutor() as pool:
        made = b"".join(pool.map(work, paths, chunksize=16))
    return np.frombuffer(made, dtype=np.uint8).reshape(len(paths), -1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)


def recalls(small: Path) -> dict[str, object]:
    table = pd.read_csv(small / "metadata.csv", dtype=str).sample(frac=1, random_state=0)
    chosen = yaml.safe_load(Path("params.yaml").read_text())["validate"]["near_duplicate_score"]
    result: dict[str, object] = {"near_duplicate_score": chosen}
    for part, rows in (("threshold", table[:IMAGES]), ("report", table[IMAGES : 2 * IMAGES])):
        thumbnails = gathered(thumbnails_of, [small / name for name in rows["filename"]])
        # each kind separately: an original and one copy, so that other copies have no influence
        rows_of = {}
        false_pairs = dict.fromkeys(THRESHOLDS, 0)
        lesions = rows["lesion_id"].to_numpy()
        for number, name in enumerate(KINDS, start=1):
            scores, other = measured_kind(thumbnails[:, [0, number]], lesions)
            rows_of[name] = {str(threshold): float((scores >= threshold).mean()) for threshold in THRESHOLDS}
            for threshold in THRESHOLDS:
                false_pairs[threshold] += int((other >= threshold).sum())
        images_searched = 2 * IMAGES * len(KINDS)
        print(f"\n{part} part: {IMAGES} images of {small.name}, {len(KINDS)} kinds of copies; recall at each threshold")
        print(f"  {'':<28}" + "".join(f"{threshold:>8}" for threshold in THRESHOLDS))
        for name, values in rows_of.items():
            print(f"  {name:<28}" + "".join(f"{value:>8.3f}" for value in values.values()))
        per_thousand = {str(threshold): 1000 * false_pairs[threshold] / images_searched for threshold in THRESHOLDS}
        print(f"  {'false pairs per 1,000 images':<28}" + "".join(f"{value:>8.3f}" for value in per_thousand.values()))
        result[part] = {"recall": rows_of, "false_pairs_per_1000_images": per_thousand, "lowest_recall_at_chosen": None}
        at = str(chosen)
        if at in next(iter(rows_of.values())):
            lowest = min(rows_of, key=lambda name: rows_of[name][at])
            result[part]["lowest_recall_at_chosen"] = [lowest, rows_of[lowest][at]]  # type: ignore[index]
            print(f"  at {chosen} (validate.near_duplicate_score): lowest recall {rows_of[lowest][at]:.3f} ({lowest})")
    return result


def measured_kind(thumbnails: np.ndarray, lesions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the true pairs (-1: no candidate), and of all pairs of different lesions, among originals and one kind of copy."""
    count = len(thumbnails)
    flat = thumbnails.swapaxes(0, 1).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    found = near_duplicates.verify_pairs(flat, near_duplicates.candidate_pairs(flat))
    image = found.indices % count
    true = image[:, 0] == image[:, 1]
    scores = np.full(count, -1.0)
    scores[image[true, 0]] = found.scores[true]
    return scores, found.scores[lesions[image[:, 0]] != lesions[image[:, 1]]]


def blends(thumbnails: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Synthetic thumbnails: each is the mean of two real ones, one of them flipped vertically."""
    one, other = (thumbnails[random.integers(0, len(thumbnails), count)] for _ in range(2))
    return ((one.astype(np.uint16) + other[:, ::-1]) // 2).astype(np.uint8)


def speeds(large: Path, chosen: float) -> dict[str, object]:
    table = pd.read_csv(large / "metadata.csv", dtype=str)
    thumbnails = gathered(plain, [large / name for name in table["filename"]])[:, 0]
    start, cpu = time.perf_counter(), time.process_time()
    found = near_duplicates.find_near_pairs(thumbnails, chosen)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    lesions = table["lesion_id"].to_numpy()
    other = lesions[found.indices[:, 0]] != lesions[found.indices[:, 1]]
    print(f"\n{large.name}, {len(table)} images: {wall:.1f} s ({cpu:.1f} s of processor time), {len(other)} pairs, {other.sum()} of them")
    print("of different lesion_id (score, first, second):")
    pairs = []
    for (one, two), score in sorted(
        zip(found.indices[other].tolist(), found.scores[other].tolist(), strict=True), key=lambda item: -item[1]
    ):
        pairs.append([round(score, 3), table["filename"].iloc[one], table["filename"].iloc[two]])
        print(f"  {score:.3f}  {pairs[-1][1]:<44} {pairs[-1][2]}")
    random = np.random.default_rng(0)
    growth = {}
    print("\nsynthetic thumbnails, seconds (processor seconds), growth exponent:")
    for size in SIZES:
        some = blends(thumbnails, size, random)
        start, cpu_start = time.perf_counter(), time.process_time()
        near_duplicates.find_near_pairs(some, chosen)
        growth[size] = [time.perf_counter() - start, time.process_time() - cpu_start]
        before = [known for known in growth if known < size]
        power = f"  exponent {np.log(growth[size][1] / growth[before[-1]][1]) / np.log(size / before[-1]):.2f}" if before else ""
        print(f"  {size:>7,} {growth[size][0]:>8.1f} ({growth[size][1]:.1f}){power}")
    return {"images": len(table), "seconds": wall, "processor_seconds": cpu, "pairs": len(other), "other_lesion": pairs, "growth": growth}


def main() -> None:
    small, large = map(Path, sys.argv[1:3])
    described = machine.describe()
    print(described)
    result = {"machine": described, **recalls(small)}
    result["search"] = speeds(large, float(str(result["near_duplicate_score"])))
    print(f"\nwritten to {machine.write('duplicates', result)}")


if __name__ == "__main__":
    main()
