"""Compute the frozen base's features of `embed.max_views_per_image` training views of each image, and of the validation images.

Reads build/shards/ and the backbone's weights. Writes build/features/: for each split the features, float32
(views, width), as .npy, and the image of each row as .parquet; and backbone.json, which identifies the weights.
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from components.core.errors import LesionflowError
from components.core.files import atomic_write, write_json
from components.core.label_set import LabelSet
from components.core.paths import FEATURES
from components.imaging import tfrecords
from components.modeling import backbone
from components.modeling.determinism import seed_everything
from components.modeling.features import pooled_batches
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run

EMBEDDED_SPLITS = ("train", "validation")


def embed(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: the weights do not match the backbone, or the features are not finite.
    """
    params, outputs = settings.embed, LabelSet.load().outputs
    seed_everything(settings.seed)
    extractor = backbone.build_extractor(settings.base)
    width = extractor.output_shape[-1]
    with atomic_write(FEATURES) as draft:
        draft.mkdir()
        for split in EMBEDDED_SPLITS:
            expected = tfrecords.view_count(split, max_views=params.max_views_per_image)
            features = np.lib.format.open_memmap(draft / f"{split}.npy", mode="w+", dtype=np.float32, shape=(expected, width))
            owners, at = [], 0
            with tqdm(total=expected, desc=split, unit="view", mininterval=1) as bar:
                for batch, pooled in pooled_batches(extractor, split, params.batch_size, params.max_views_per_image):
                    features[at : at + len(pooled)] = pooled
                    at += len(pooled)
                    owners.append(pd.DataFrame({"class": batch["class"], "path": tfrecords.paths_of(batch), "view": batch["view"]}))
                    bar.update(len(pooled))
            features.flush()
            if not np.isfinite(features).all():
                raise LesionflowError(
                    f"{settings.base.weights} produces features that are not finite. The file is probably damaged; replace it."
                )
            table = pd.concat(owners, ignore_index=True)
            table.insert(0, "diagnosis", [outputs[number] for number in table.pop("class")])
            table.to_parquet(draft / f"{split}.parquet", index=False)
        write_json(draft / "backbone.json", {"weights_sha256": backbone.weights_sha256(settings.base), "width": width})


if __name__ == "__main__":
    run(lambda: embed(load()), __doc__, tensorflow=True)
