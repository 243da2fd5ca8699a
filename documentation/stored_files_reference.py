"""The page docs/reference/stored-files.md: what each file in build/ is, with the columns of the catalog from the code."""

from components.core.catalog import COLUMNS
from documentation.markdown import source, table
from documentation.repository import GENERATED_NOTE

FILES = [
    ["`build/catalog.parquet`", "`validate`", "[one row per file of `data/`](#catalogparquet)"],
    ["`build/findings.csv`", "`validate`", "[one row per file and finding](#findingscsv)"],
    ["`build/quarantine.csv`", "`validate`", "one row per excluded file: `path`, `diagnosis`, `lesion_id`, `reason`"],
    ["`build/splits.parquet`", "`split`", "[one row per usable image](#splitsparquet)"],
    ["`build/shards/`", "`augment`", "[TFRecord files with the pixels of every view](#shards)"],
    ["`build/features/`", "`embed`", "[pooled output of the frozen base](#features)"],
    ["`build/frozen/model.keras`", "`train`", "Keras classifier: frozen base and fitted head"],
    ["`build/finetuned/model.keras`", "`finetune`", "Keras classifier with fine-tuned upper blocks"],
    ["`build/candidate/`", "`evaluate`", "[the model that is exported and registered](#candidate)"],
    [
        "`build/export/`",
        "`export`",
        "`model_<precision>.tflite` in float32, float16 and int8 ([how to use them](../how-to/use-tflite-models.md))",
    ],
    ["`build/scans/`", "`validate`", "cache of scan results, by content; not an output of a stage, safe to delete"],
    [
        "`build/checkpoint/`, `build/maps/`",
        "`finetune`",
        "state and cached feature maps of an unfinished training; not outputs of a stage, deleted when it succeeds",
    ],
]
FINDINGS = [
    ["`kind`", "kind of finding ([the 20 checks](../how-to/prepare-a-dataset.md#the-20-checks))"],
    ["`number`", "number of the finding; rows with the same number belong to one finding"],
    ["`rank`", "urgency within the kind; larger is more urgent"],
    ["`path`", "path relative to `data/`, or the name of a class"],
    ["`then`", "action of the policy"],
    ["`left_out`", "reason for which the file is excluded; empty if it is used"],
    ["`says`", "what was found"],
    ["`sha256`, `diagnosis`", "of the file; empty for a class or a missing file"],
]
SPLITS = [
    ["`path`, `isic_id`, `diagnosis`, `patient_id`, `lesion_id`, `collection`, `pixels_sha256`", "as in the catalog"],
    [
        "`age_approx`, `sex`, `anatom_site_general`, `fitzpatrick_skin_type`, `width`, `height`",
        "as in the catalog; for subgroups",
    ],
    ["`group`", "number of the group; all images of a group are in one split"],
    ["`side`", "the split: `train`, `validation` or `test`"],
]
SHARDS = """\
One folder per split. `index.json` has the number of views of each class (`per_class`), of each view number (`per_number`), and the side of
a view in pixels (`image_size`). The views of a split are distributed over its `*.tfrecord` files at random. `resolution.json` is the
resolution that every image was downsampled to first (`images.resolution`), or null.

Each record is a `tf.train.Example`:

| feature | content |
| --- | --- |
| `png` | bytes of a PNG, RGB, `image_size` x `image_size` |
| `class` | position of the image's class among the outputs of `label_set.json` |
| `path` | path of the image, UTF-8 |
| `view` | number of the view, from 0; validation and test have one view per image |"""
FEATURES = """\
For `train` and `validation`: `<split>.npy`, float32, one row per view; and `<split>.parquet` with the `diagnosis`, `path` and `view` of
each row. `backbone.json` has the sha256 of the weights (`imagenet` if Keras downloads them) and the number of columns (`width`)."""
CANDIDATE = """\
| file | content |
| --- | --- |
| `model.keras` | the picked phase with operating point and temperature: pixels 0 to 255 in, calibrated probabilities out |
| `candidate.json` | what it is: phase, label set, outputs, temperature ([keys](reports.md#candidatejson)) |
| `test_predictions.parquet` | one row per test image: `path`, `pixels_sha256`, `diagnosis`, `group`, `p_<output>` per output |

Registration copies this folder, `build/export/` and `evidence/` into the logged model of the version in MLflow, with `sha256.json`: the
sha256 of each file that a predictor may read."""
PRINT = """\
```python
import json

import numpy as np
import pandas as pd
import tensorflow as tf

print(pd.read_parquet("build/catalog.parquet").loc[0])
print(pd.read_csv("build/findings.csv"))
print(pd.read_parquet("build/splits.parquet").groupby(["diagnosis", "side"]).size().unstack())
print(np.load("build/features/train.npy", mmap_mode="r").shape)
print(pd.read_parquet("build/candidate/test_predictions.parquet"))

record = next(iter(tf.data.TFRecordDataset("build/shards/train/00000.tfrecord"))).numpy()
feature = tf.train.Example.FromString(record).features.feature
print(feature["path"].bytes_list.value[0].decode(), feature["view"].int64_list.value[0])

model = tf.keras.models.load_model("build/candidate/model.keras", compile=False)
print(model.input_shape, json.load(open("build/candidate/candidate.json"))["outputs"])
```"""


def page() -> str:
    """The page as Markdown."""
    parts = [
        "# Stored files",
        GENERATED_NOTE,
        "What the stages write to `build/`. Git ignores this folder. DVC tracks the outputs of stages and restores them from its cache"
        " (`dvc checkout`). [Reports](reports.md) describes `reports/`, and"
        " [splitting](../explanation/splitting.md#when-the-dataset-changes) `splits/assignments.csv`.",
        table(["file", "written by", "content"], FILES),
        "## Print them",
        "From the project's root, in its environment:",
        PRINT,
        "## catalog.parquet",
        table(["column", "meaning"], [[f"`{column}`", meaning] for column, meaning in COLUMNS.items()]),
        "## findings.csv",
        table(["column", "meaning"], FINDINGS),
        "## splits.parquet",
        table(["column", "meaning"], SPLITS),
        "## Shards",
        SHARDS,
        "## Features",
        FEATURES,
        "## Candidate",
        CANDIDATE,
        source(
            "components/core/paths.py",
            "components/core/catalog.py",
            "components/validate.py",
            "components/split.py",
            "components/imaging/tfrecords.py",
            "components/embed.py",
            "components/evaluate.py",
            "components/export.py",
        ),
    ]
    return "\n\n".join(parts) + "\n"
