"""The Great Expectations suite over the catalog, and its Data Docs."""

import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd

from components.catalog import COLUMNS
from components.classes import CLASSES
from components.errors import LesionflowError
from components.settings import Validate

HEX = "^[0-9a-f]{64}$"


def check(catalog: pd.DataFrame, classes: pd.DataFrame, limits: Validate, docs: Path) -> list[str]:
    """Hold usable rows and class counts to the suite and write Data Docs into `docs`.

    Args:
        catalog: a row per file, with catalog.COLUMNS.
        classes: a row per output class: class, images, lesions.
        limits: the thresholds of params.yaml.
        docs: folder to make; its index.html is the entry page.

    Returns:
        A line per expectation that is not met.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # 7 s to import, and only this function wants it

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it sets INFO itself
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    context.add_data_docs_site("local", _site(docs))
    usable = catalog[catalog["usable"]].astype({"width": int, "height": int})
    frames = {
        "usable_images": (usable.drop(columns=["reason"]), _image_expectations(gx, limits)),
        "classes": (classes, _class_expectations(gx, limits)),
    }
    source = context.data_sources.add_pandas("catalog")
    unmet: list[str] = []
    for name, (frame, wanted) in frames.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all rows")
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=wanted))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        action = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["local"])
        checkpoint = context.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], actions=[action]))
        outcome = checkpoint.run(batch_parameters={"dataframe": frame})
        for result in outcome.run_results.values():
            unmet += [_describe(name, item) for item in result.results if not item.success]
    if not (docs / "index.html").exists():
        raise LesionflowError(f"Great Expectations wrote no Data Docs into {docs}")
    return unmet


def _site(docs: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "show_how_to_buttons": False,
    }


def _image_expectations(gx: Any, limits: Validate) -> list[Any]:
    expect = gx.expectations
    return [
        expect.ExpectTableRowCountToBeBetween(min_value=1),
        expect.ExpectTableColumnsToMatchSet(column_set=[name for name in COLUMNS if name != "reason"]),
        expect.ExpectColumnValuesToBeUnique(column="path"),
        expect.ExpectColumnValuesToBeUnique(column="pixels_sha256"),
        *(expect.ExpectColumnValuesToNotBeNull(column=name) for name in ("isic_id", "lesion_id", "diagnosis", "phash")),
        expect.ExpectColumnValuesToBeInSet(column="diagnosis", value_set=list(CLASSES)),
        expect.ExpectColumnValuesToBeInSet(column="format", value_set=["JPEG", "PNG"]),
        *(expect.ExpectColumnValuesToMatchRegex(column=name, regex=HEX) for name in ("sha256", "pixels_sha256", "phash")),
        *(expect.ExpectColumnValuesToBeBetween(column=name, min_value=limits.min_side) for name in ("width", "height")),
    ]


def _class_expectations(gx: Any, limits: Validate) -> list[Any]:
    expect = gx.expectations
    return [
        expect.ExpectColumnValuesToBeUnique(column="class"),
        expect.ExpectColumnValuesToBeBetween(column="images", min_value=limits.min_images_per_class),
        expect.ExpectColumnValuesToBeBetween(column="lesions", min_value=1),
    ]


def _describe(suite: str, result: Any) -> str:
    config = result.expectation_config
    wanted = ", ".join(f"{key}={value}" for key, value in config.kwargs.items() if key not in ("batch_id", "column"))
    unexpected = result.result.get("partial_unexpected_list", [])[:5]
    column = config.kwargs.get("column", "the table")
    raised = result.exception_info.get("exception_message") if "exception_message" in result.exception_info else None
    found = f"found {unexpected}" if unexpected else raised or f"observed {result.result.get('observed_value')}"
    return f"expectation not met in {suite}: {config.type} on {column} ({wanted}): {found}"
