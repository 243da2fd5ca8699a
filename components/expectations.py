"""The Great Expectations suites over the catalog and the split, and their Data Docs."""

import logging
import os
from collections.abc import Collection
from html import escape, unescape
from pathlib import Path
from typing import Any

import pandas as pd

from components.catalog import COLUMNS, SIDES
from components.classes import CLASSES, MALIGNANT
from components.settings import Validate
from components.stage import counted

HEX = "^[0-9a-f]{64}$"
Wanted = list[tuple[str, dict[str, Any]]]
"""Names of Great Expectations' classes, and their arguments."""


Counts = dict[str, dict[str, int]]


def check_catalog(
    catalog: pd.DataFrame, classes: pd.DataFrame, found: Counts, limits: Validate, docs: Path, kept: Collection[str] = ()
) -> list[str]:
    """Hold usable rows and class counts to their suites and write Data Docs into `docs`.

    Args:
        catalog: a row per file, with catalog.COLUMNS.
        classes: a row per output class: class, images, lesions.
        found: files that show each kind of finding, by class, for the entry page.
        limits: the thresholds of params.yaml.
        docs: folder to make; its index.html is the entry page.
        kept: paths that a person decided to keep whatever is found.

    Returns:
        A line per expectation that is not met.
    """
    images = catalog[catalog["usable"]].drop(columns="reason")
    images = images.assign(
        classes_of_pixels=_distinct(images, "pixels_sha256", "diagnosis"), classes_of_lesion=_distinct(images, "lesion_id", "diagnosis")
    )
    tables = {
        "Usable images": classes.set_axis(["class", "images", "lesions"], axis=1),
        "Found, by kind and class": _counts_table(found, "found"),
    }
    note = "Files left out, with their reasons: build/quarantine.csv. Every finding: build/findings.csv."
    suites = {
        "usable_images": (images, _images(limits, images[images["path"].isin(kept)])),
        "classes": (_held(classes, limits), _classes(limits)),
    }
    return _check(suites, docs, tables, note)


def check_splits(splits: pd.DataFrame, needed: "pd.Series[str]", docs: Path) -> list[str]:
    """Hold the split to its suite and write Data Docs into `docs`; as `check_catalog`.

    Args:
        splits: a row per usable image: path, isic_id, diagnosis, lesion_id, pixels_sha256, group, side.
        needed: what each image is needed for on every side: values of which each side must have an image; missing where it is not.
        docs: folder to make.
    """
    spread = {f"sides_of_{key}": _distinct(splits, key, "side") for key in ("group", "lesion_id", "pixels_sha256")}
    tables = {"Images of each class on each side": _per_side(splits["diagnosis"], splits["side"])}
    suites = {
        "splits": (splits.assign(**spread), _splits(list(spread))),
        "classes_per_side": (_per_side(needed, splits["side"]), _sides()),
    }
    return _check(suites, docs, tables, "No group, lesion or picture stands on two sides.")


def _per_side(names: "pd.Series[str]", side: "pd.Series[str]") -> pd.DataFrame:
    counts = names.groupby([names.rename("diagnosis"), side]).size().unstack(fill_value=0)
    return counts.reindex(columns=list(SIDES), fill_value=0).reset_index()


def _distinct(frame: pd.DataFrame, key: str, column: str) -> "pd.Series[int]":
    """For each row, how many values of `column` the rows with its `key` have."""
    return frame.groupby(key, dropna=False)[column].transform("nunique").astype(int)


def _counts_table(found: Counts, corner: str) -> pd.DataFrame:
    names = [name for name in (*CLASSES, "none") if any(name in counts for counts in found.values())]
    rows = [[kind.replace("_", " "), *(counts.get(name, 0) for name in names), sum(counts.values())] for kind, counts in found.items()]
    return pd.DataFrame(rows, columns=[corner, *names, "all"])


def _check(suites: dict[str, tuple[pd.DataFrame, Wanted]], docs: Path, tables: dict[str, pd.DataFrame], note: str) -> list[str]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with counted("imports"):
        import great_expectations as gx  # 7 s to import, and only this function wants it

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it sets INFO itself
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    context.add_data_docs_site("local", _site(docs))
    source = context.data_sources.add_pandas("lesionflow")
    unmet: list[str] = []
    pages: list[tuple[str, int, int, str]] = []
    for name, (frame, wanted) in suites.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all rows")
        expectations = [getattr(gx.expectations, expectation)(**arguments) for expectation, arguments in wanted]
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        action = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["local"])
        checkpoint = context.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], actions=[action]))
        outcome = checkpoint.run(batch_parameters={"dataframe": _escaped(frame)})
        for result in outcome.run_results.values():
            unmet += [_describe(name, item) for item in result.results if not item.success]
            page = next(docs.glob(f"validations/{name}/**/*.html")).relative_to(docs).as_posix()
            pages.append((name, sum(item.success for item in result.results), len(result.results), page))
    (docs / "index.html").write_text(_front_page(pages, tables, unmet, note), encoding="utf-8")
    return unmet


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its text as HTML shows it: Great Expectations writes values into its pages as they are. Escaping keeps equal
    values equal and different ones different, so no expectation is met or not met because of it."""
    return frame.map(lambda value: escape(value).replace("$", "&#36;") if isinstance(value, str) else value)


def _unescaped(value: Any) -> Any:
    return unescape(value) if isinstance(value, str) else value


def _front_page(pages: list[tuple[str, int, int, str]], tables: dict[str, pd.DataFrame], unmet: list[str], note: str) -> str:
    """The entry page of the Data Docs. Great Expectations' own draws its table with scripts from the internet, so it is
    empty behind a hospital's firewall; this one needs nothing but itself."""
    rows = [
        f"<tr><td><a href='{escape(page, quote=True)}'>{escape(name.replace('_', ' '))}</a></td><td>{met} of {total} met</td></tr>"
        for name, met, total, page in pages
    ]
    faults = [f"<li>{escape(line)}</li>" for line in unmet]
    return "\n".join(
        [
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>Data Docs</title>",
            "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:3rem auto;padding:0 1rem;color:#222}",
            "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem 1rem .3rem 0;border-bottom:1px solid #ddd;text-align:left}",
            "td+td,th+th{text-align:right}th{vertical-align:bottom;font-weight:600}.bad{color:#a00}</style>",
            f"<h1>Data Docs</h1><p class='{'bad' if unmet else ''}'>{len(unmet) or 'All'} expectations {'not ' if unmet else ''}met.</p>",
            f"<ul class='bad'>{''.join(faults)}</ul>" if faults else "",
            f"<h2>Suites</h2><table><tr><th>suite</th><th>expectations</th></tr>{''.join(rows)}</table>",
            *(f"<h2>{escape(title)}</h2>{_html(table)}" for title, table in tables.items() if len(table)),
            f"<p>{escape(note)}</p></html>",
        ]
    )


def _html(table: pd.DataFrame) -> str:
    named = table.rename(columns=lambda name: str(name).replace("_", " "))
    first = named.columns[0]
    return named.assign(**{first: named[first].str.replace("_", " ")}).to_html(index=False, border=0)


def _site(docs: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "show_how_to_buttons": False,
    }


def _images(limits: Validate, kept: pd.DataFrame) -> Wanted:
    """What usable images must be; no more is asked of size and licence than the images have that a person decided to keep."""
    least = 1 if limits.policy.tiny.then == "warn" else min([limits.min_side, *kept["width"], *kept["height"]])
    licensed = limits.policy.missing_licence.then != "warn" and bool(kept["license"].notna().all())
    return [
        ("ExpectTableRowCountToBeBetween", {"min_value": 1}),
        (
            "ExpectTableColumnsToMatchSet",
            {"column_set": [*(name for name in COLUMNS if name != "reason"), "classes_of_pixels", "classes_of_lesion"]},
        ),
        *(("ExpectColumnValuesToBeUnique", {"column": name}) for name in ("path", "sha256", "pixels_sha256")),
        *(("ExpectColumnValuesToNotBeNull", {"column": name}) for name in ("isic_id", "lesion_id", "diagnosis", "group")),
        ("ExpectColumnValuesToMatchRegex", {"column": "isic_id", "regex": r"^\S(?:.*\S)?$"}),
        ("ExpectColumnValuesToBeInSet", {"column": "diagnosis", "value_set": list(CLASSES)}),
        ("ExpectColumnValuesToBeInSet", {"column": "format", "value_set": ["JPEG", "PNG"]}),
        *(("ExpectColumnValuesToMatchRegex", {"column": name, "regex": HEX}) for name in ("sha256", "pixels_sha256")),
        *(("ExpectColumnValuesToBeBetween", {"column": name, "min_value": least}) for name in ("width", "height")),
        *(("ExpectColumnValuesToBeInSet", {"column": f"classes_of_{key}", "value_set": [1]}) for key in ("pixels", "lesion")),
        *([("ExpectColumnValuesToNotBeNull", {"column": "license"})] if licensed else []),
    ]


def _held(classes: pd.DataFrame, limits: Validate) -> pd.DataFrame:
    """Classes that must be large enough: those the policy neither warns about alone nor has left out whole."""
    rules = [limits.policy.scarce_cancer if name in (*MALIGNANT, "malignant") else limits.policy.scarce_class for name in classes["class"]]
    none_may = [rule.at_most == 0 or (rule.at_most is None and rule.then == "fail") for rule in rules]
    asked = [
        rule.then != "warn" and (strict or images > 0) for rule, strict, images in zip(rules, none_may, classes["images"], strict=True)
    ]
    return classes[asked]


def _classes(limits: Validate) -> Wanted:
    return [
        ("ExpectColumnValuesToBeUnique", {"column": "class"}),
        ("ExpectColumnValuesToBeBetween", {"column": "images", "min_value": limits.min_images_per_class}),
        ("ExpectColumnValuesToBeBetween", {"column": "lesions", "min_value": 1}),
    ]


def _splits(spread: list[str]) -> Wanted:
    return [
        *(("ExpectColumnValuesToBeUnique", {"column": name}) for name in ("path", "pixels_sha256")),
        ("ExpectColumnValuesToBeInSet", {"column": "side", "value_set": list(SIDES)}),
        ("ExpectColumnValuesToBeInSet", {"column": "diagnosis", "value_set": list(CLASSES)}),
        *(("ExpectColumnValuesToBeInSet", {"column": name, "value_set": [1]}) for name in spread),
    ]


def _sides() -> Wanted:
    return [("ExpectColumnValuesToBeBetween", {"column": name, "min_value": 1}) for name in SIDES]


def _describe(suite: str, result: Any) -> str:
    config = result.expectation_config
    wanted = ", ".join(f"{key}={value}" for key, value in config.kwargs.items() if key not in ("batch_id", "column"))
    unexpected = [_unescaped(value) for value in result.result.get("partial_unexpected_list", [])[:5]]
    column = config.kwargs.get("column", "the table")
    raised = result.exception_info.get("exception_message") if "exception_message" in result.exception_info else None
    found = f"found {unexpected}" if unexpected else raised or f"observed {result.result.get('observed_value')}"
    return f"expectation not met in {suite}: {config.type} on {column} ({wanted}): {found}"
