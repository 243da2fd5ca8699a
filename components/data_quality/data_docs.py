"""Runs Great Expectations suites and writes the Data Docs with a front page."""

import logging
import os
from html import escape, unescape
from pathlib import Path
from typing import Any

import pandas as pd

from components.core.classes import CLASSES
from components.runtime.timing import timed

Wanted = list[tuple[str, dict[str, Any]]]
"""Class names of Great Expectations with their arguments."""


Counts = dict[str, dict[str, int]]


def counts_table(found: Counts, corner: str) -> pd.DataFrame:
    names = [name for name in (*CLASSES, "none") if any(name in counts for counts in found.values())]
    rows = [[kind.replace("_", " "), *(counts.get(name, 0) for name in names), sum(counts.values())] for kind, counts in found.items()]
    return pd.DataFrame(rows, columns=[corner, *names, "all"])


def run_suite(suites: dict[str, tuple[pd.DataFrame, Wanted]], docs: Path, tables: dict[str, pd.DataFrame], note: str) -> list[str]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with timed("imports"):
        import great_expectations as gx  # takes 7 s to import, and only this function needs it

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
            unmet += [describe(name, item) for item in result.results if not item.success]
            page = next(docs.glob(f"validations/{name}/**/*.html")).relative_to(docs).as_posix()
            pages.append((name, sum(item.success for item in result.results), len(result.results), page))
    (docs / "index.html").write_text(_front_page(pages, tables, unmet, note), encoding="utf-8")
    return unmet


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """Escape the frame's text for HTML, since Great Expectations writes values into its pages unescaped. Escaping keeps equal values
    equal and different values different, so it does not change whether an expectation is met."""
    return frame.map(lambda value: escape(value).replace("$", "&#36;") if isinstance(value, str) else value)


def _unescaped(value: Any) -> Any:
    return unescape(value) if isinstance(value, str) else value


def _front_page(pages: list[tuple[str, int, int, str]], tables: dict[str, pd.DataFrame], unmet: list[str], note: str) -> str:
    """Entry page of the Data Docs. The entry page of Great Expectations loads scripts from the internet and is empty behind a
    firewall; this one is self-contained."""
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


def describe(suite: str, result: Any) -> str:
    config = result.expectation_config
    wanted = ", ".join(f"{key}={value}" for key, value in config.kwargs.items() if key not in ("batch_id", "column"))
    unexpected = [_unescaped(value) for value in result.result.get("partial_unexpected_list", [])[:5]]
    column = config.kwargs.get("column", "the table")
    raised = result.exception_info.get("exception_message") if "exception_message" in result.exception_info else None
    found = f"found {unexpected}" if unexpected else raised or f"observed {result.result.get('observed_value')}"
    return f"expectation not met in {suite}: {config.type} on {column} ({wanted}): {found}"
