"""Run the frozen base once over every training view and validation image.

Reads build/shards/ and the backbone's weights. Writes build/features/: for each side the features, float32
(views, width), as .npy, and whose they are as .parquet; and backbone.json, which says what computed them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from components import model, records
from components.classes import CLASSES
from components.determinism import seed_everything
from components.errors import LesionflowError
from components.files import replacing, write_json
from components.paths import FEATURES
from components.settings import Settings, load
from components.stage import run

if TYPE_CHECKING:
    import keras

SIDES = ("train", "validation")


def pooled_batches(extractor: "keras.Model", side: str, batch_size: int) -> Iterator[tuple[dict[str, np.ndarray], NDArray[np.float32]]]:
    """Batches of a side in the shards' order, and the features of each."""
    pooled_of = model.compiled(extractor)
    for batch in records.in_order(side, batch_size=batch_size):
        yield batch, pooled_of(batch["pixels"])


def embed(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: the weights do not fit the backbone, or give features that are not finite.
    """
    seed_everything(settings.seed)
    extractor = model.build_extractor(settings.base)
    width = extractor.output_shape[-1]
    with replacing(FEATURES) as draft:
        draft.mkdir()
        for side in SIDES:
            expected = sum(records.counts(side).values())
            features = np.lib.format.open_memmap(draft / f"{side}.npy", mode="w+", dtype=np.float32, shape=(expected, width))
            owners = []
            with tqdm(total=expected, desc=side, unit="view", mininterval=1) as bar:
                for batch, pooled in pooled_batches(extractor, side, settings.embed.batch_size):
                    features[bar.n : bar.n + len(pooled)] = pooled
                    owners.append(pd.DataFrame({"class": batch["class"], "path": batch["path"].astype(str), "view": batch["view"]}))
                    bar.update(len(pooled))
            features.flush()
            if not np.isfinite(features).all():
                raise LesionflowError(f"{settings.base.weights} gives features that are not finite: the file is damaged")
            table = pd.concat(owners, ignore_index=True)
            table.insert(0, "diagnosis", [CLASSES[number] for number in table.pop("class")])
            table.to_parquet(draft / f"{side}.parquet", index=False)
        write_json(draft / "backbone.json", {"weights_sha256": model.weights_identity(settings.base), "width": width})


if __name__ == "__main__":
    run(lambda: embed(load()), __doc__, tensorflow=True)
