"""Features of the training and validation images under the frozen base: of each image's clean picture and of its augmented views.

Rendered and embedded once; no fold passes through the base after that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from components import augmentation, imaging, modeling
from components.augmentation import views
from components.augmentation.views import PlannedImage, ViewRenderer, views_per_image
from components.core import catalog
from components.core.errors import LesionflowError
from components.core.files import atomic_write, read_json, require_file, write_json
from components.core.paths import DATA, RESOLUTION
from components.imaging.images import Pixels
from components.imaging.model_input import ModelInput
from components.modeling import backbone
from components.modeling.classifier import inference_function
from components.runtime.parallel import stream_map, workers
from components.runtime.params import Settings
from components.search.identity import code_sha256, sha256_of

if TYPE_CHECKING:
    import keras

CACHE = Path("build/cv/features")
BATCH = 64
IDENTITY = "identity.json"
DECIDING = (augmentation, imaging, modeling)
"""Packages whose code decides the features."""


@dataclass(frozen=True)
class FoldCache:
    """The cache.

    Attributes:
        images: one row per image: the columns of build/splits.parquet, sorted by path.
        clean: float32 (images, width), features of each image as it is served.
        views: float32 (views, width), memory-mapped, features of the augmented views.
        owners: int (views,), the row of each view's image.
        identity: of everything that decides the features, and the groups and sides of the images.
    """

    images: pd.DataFrame
    clean: NDArray[np.float32]
    views: NDArray[np.float32]
    owners: NDArray[np.int64]
    identity: str


def images_to_validate_on() -> pd.DataFrame:
    """The rows of build/splits.parquet of training and validation; those of test are dropped before anything else sees them."""
    rows = catalog.load_splits()
    return rows[rows["side"].isin(["train", "validation"])].sort_values("path", ignore_index=True)


def load_cache(settings: Settings, folder: Path = CACHE) -> FoldCache:
    """Load the cache; render and embed what it holds first, unless it was made from the same images, params and weights.

    Raises:
        LesionflowError: the backbone's weights are missing, or give features that are not finite.
    """
    images = images_to_validate_on()
    identity = features_identity(images, settings)
    if not ((folder / IDENTITY).exists() and read_json(folder / IDENTITY)["identity"] == identity):
        _build(images, settings, identity, folder)
    owners, clean = np.load(folder / "owners.npy"), np.load(folder / "clean.npy")
    return FoldCache(images, clean, np.load(folder / "views.npy", mmap_mode="r"), owners, cache_identity(images, identity))


def cache_identity(images: pd.DataFrame, features: str) -> str:
    """Hex sha256 over the identity of the features, and over how the images are dealt into folds and split."""
    return sha256_of({"features": features, "dealt": images[["group", "side"]].to_numpy(dtype=str).tolist()})


def features_identity(images: pd.DataFrame, settings: Settings) -> str:
    """Hex sha256 over everything that determines the features: pixels, params, weights, seed, and the code that renders and embeds."""
    described = {
        "images": images[["path", "pixels_sha256", "diagnosis"]].to_numpy(dtype=str).tolist(),
        "params": [settings.augment.model_dump(), settings.embed.model_dump(), settings.images.model_dump(), settings.base.model_dump()],
        "resolution": resolution(),
        "weights": backbone.weights_sha256(settings.base),
        "seed": settings.seed,
        "code": code_sha256(*DECIDING),
    }
    return sha256_of(described)


def resolution() -> int | None:
    """The resolution that `augment` chose."""
    found = read_json(require_file(RESOLUTION))["resolution"]
    return None if found is None else int(found)


def plan(images: pd.DataFrame, settings: Settings) -> list[PlannedImage]:
    """The views of each image that are embedded, in the order of the rows: those that `augment` plans and `embed` takes."""
    counts = images["diagnosis"].value_counts().to_dict()
    wanted = views_per_image(counts, settings.augment.views_per_image, settings.augment.max_views_per_image)
    most = settings.embed.max_views_per_image
    return [PlannedImage(row.path, row.diagnosis, min(wanted[row.diagnosis], most)) for row in images.itertuples()]


def _build(images: pd.DataFrame, settings: Settings, identity: str, folder: Path) -> None:
    planned = plan(images, settings)
    renderer = ViewRenderer(DATA, ModelInput(settings.base.image_size, resolution()), settings.augment, settings.seed)
    extractor = backbone.build_extractor(settings.base)
    with atomic_write(folder) as draft, workers(views.__name__) as pool:
        draft.mkdir(parents=True)
        np.save(draft / "owners.npy", np.repeat(np.arange(len(planned)), [image.views for image in planned]))
        _write_features(draft / "clean.npy", extractor, stream_map(pool, _Clean(renderer), planned), len(planned))
        augmented, count = stream_map(pool, renderer.augmented_pixels, planned), sum(image.views for image in planned)
        _write_features(draft / "views.npy", extractor, augmented, count)
        write_json(draft / IDENTITY, {"identity": identity})


@dataclass(frozen=True)
class _Clean:
    """A function, which can be pickled, from an image to its clean pixels in a list."""

    renderer: ViewRenderer

    def __call__(self, image: PlannedImage) -> list[Pixels]:
        return [self.renderer.clean_pixels(image.path)]


def _write_features(path: Path, network: "keras.Model", pixels: Iterator[Pixels], count: int) -> None:
    """Write the features of this many pictures as float32 .npy."""
    compute = inference_function(network)
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, network.output_shape[-1]))
    with tqdm(total=count, desc=path.stem, unit="picture", mininterval=1) as bar:
        for start in range(0, count, BATCH):
            batch = compute(np.stack(list(islice(pixels, BATCH))))
            features[start : start + len(batch)] = batch
            bar.update(len(batch))
    features.flush()
    if not np.isfinite(features).all():
        raise LesionflowError("the backbone's weights produce features that are not finite. The file is probably damaged; replace it.")
