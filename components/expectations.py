"""The Great Expectations suite over the catalog, and its Data Docs."""

import logging
import os
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from components.catalog import COLUMNS
from components.classes import CLASSES
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
    suites: list[tuple[str, int, int, str]] = []
    for name, (frame, wanted) in frames.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all rows")
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=wanted))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        action = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["local"])
        checkpoint = context.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], actions=[action]))
        outcome = checkpoint.run(batch_parameters={"dataframe": frame})
        for result in outcome.run_results.values():
            unmet += [_describe(name, item) for item in result.results if not item.success]
            page = next(docs.glob(f"validations/{name}/**/*.html")).relative_to(docs).as_posix()
            suites.append((name, sum(item.success for item in result.results), len(result.results), page))
    (docs / "index.html").write_text(_front_page(suites, classes, unmet), encoding="utf-8")
    return unmet


def _front_page(suites: list[tuple[str, int, int, str]], classes: pd.DataFrame, unmet: list[str]) -> str:
    """The entry page of the Data Docs. Great Expectations' own draws its table with scripts from the internet, so it is
    empty behind a hospital's firewall; this one needs nothing but itself."""
    rows = [
        f"<tr><td><a href='{escape(page, quote=True)}'>{escape(name.replace('_', ' '))}</a></td><td>{met} of {total} met</td></tr>"
        for name, met, total, page in suites
    ]
    counts = [
        f"<tr><td>{escape(row[1].replace('_', ' '))}</td><td>{row.images}</td><td>{row.lesions}</td></tr>" for row in classes.itertuples()
    ]
    faults = [f"<li>{escape(line)}</li>" for line in unmet]
    return "\n".join(
        [
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>Data Docs</title>",
            "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#222}",
            "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem 1.2rem .3rem 0;border-bottom:1px solid #ddd;text-align:left}",
            "td+td,th+th{text-align:right}.bad{color:#a00}</style>",
            f"<h1>Data Docs</h1><p class='{'bad' if unmet else ''}'>{len(unmet) or 'All'} expectations {'not ' if unmet else ''}met.</p>",
            f"<ul class='bad'>{''.join(faults)}</ul>" if faults else "",
            f"<h2>Suites</h2><table><tr><th>suite</th><th>expectations</th></tr>{''.join(rows)}</table>",
            f"<h2>Usable images</h2><table><tr><th>class</th><th>images</th><th>lesions</th></tr>{''.join(counts)}</table>",
            "<p>Files left out, with their reasons: <code>build/quarantine.csv</code></p></html>",
        ]
    )


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
