"""Turn class folders into the form that Kaggle gives HAM10000, and check that an import plans the same images, lesions and diagnoses.

    python -m benchmarks.kaggle_form isic_full.zip OUT_DIR

Writes two flat folders and HAM10000_metadata.csv to OUT_DIR, which must not exist. Nothing is imported.
"""

import argparse
import sys
from pathlib import Path, PurePosixPath

import pandas as pd

from app.data.archives import open_source
from app.data.plan import ImportPlan, make_plan
from components.data_quality.label_definitions import read_definitions
from components.runtime.params_file import load

COLUMNS = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]


def plan_of(source: Path) -> ImportPlan:
    """What `lesionflow import` would do with a source."""
    opened = open_source(source, load().importing)
    return make_plan(opened, opened.members(), read_definitions())


def write_kaggle_form(source: Path, plan: ImportPlan, folder: Path) -> None:
    """Write the images of a plan to two flat folders, in turn, and their rows to HAM10000_metadata.csv."""
    parts = [folder / f"HAM10000_images_part_{number}" for number in (1, 2)]
    for part in parts:
        part.mkdir(parents=True)
    opened = open_source(source, load().importing)
    for number, (name, stream) in enumerate(opened.contents(list(plan.targets))):
        (parts[number % 2] / PurePosixPath(name).name).write_bytes(stream.read())
    rows = labels(plan).reset_index().rename(columns={"filename": "image_id", "diagnosis": "dx"})
    rows["image_id"] = [PurePosixPath(name).stem for name in rows["image_id"]]
    rows.reindex(columns=COLUMNS).to_csv(folder / "HAM10000_metadata.csv", index=False)


def labels(plan: ImportPlan) -> pd.DataFrame:
    """Diagnosis and lesion of each image, by its path in data/.

    Raises:
        SystemExit: the source has no table.
    """
    if plan.metadata is None:
        raise SystemExit("error: the source has no table with diagnoses and lesions")
    return plan.metadata.set_index("filename")[["diagnosis", "lesion_id"]].sort_index()


def main() -> int:
    """Write the other form, and compare the plans of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder or archive of class folders with metadata.csv")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists")
    first = plan_of(options.source)
    write_kaggle_form(options.source, first, options.out)
    second = plan_of(options.out)
    same = set(first.targets.values()) == set(second.targets.values()) and labels(first).equals(labels(second))
    forms = f"{first.recognised.form.name} and {second.recognised.form.name}"
    print(f"{first.images} images in the forms {forms}: {'the same' if same else 'DIFFERENT'} images, lesions and diagnoses")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
