"""Runs Great Expectations suites and writes the Data Docs with a front page.

Equal data make equal Data Docs, byte for byte: DVC would otherwise run the stages that depend on them again.
"""

import hashlib
import logging
import os
import re
from datetime import UTC, datetime
from html import escape, unescape
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from components.data_quality.pages import render
from components.runtime.timing import timed

TEMPLATE = Path(__file__).with_name("data_docs.html.jinja")
Wanted = list[tuple[str, dict[str, Any]]]
"""Class names of Great Expectations with their arguments."""
Counts = dict[str, dict[str, int]]
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Time of every run, which Great Expectations demands."""
LOGO_TIME = re.compile(r"(?<=/logo-long\.png)\?d=[\dTZ.]+")
ELEMENT_ID = re.compile(r"(?<=-collapse-body-)[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}")


class Suite(NamedTuple):
    """A validated suite: how many of its expectations are met, and its page, relative to the entry page."""

    name: str
    met: int
    total: int
    page: str


def counts_table(found: Counts, corner: str) -> pd.DataFrame:
    names = list(dict.fromkeys(name for counts in found.values() for name in counts))
    names = [*sorted(name for name in names if name != "none"), *(["none"] if "none" in names else [])]
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
    done: list[Suite] = []
    for name, (frame, wanted) in suites.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all rows")
        expectations = [getattr(gx.expectations, expectation)(**arguments) for expectation, arguments in wanted]
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        action = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["local"])
        checkpoint = context.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], actions=[action]))
        run_id = gx.RunIdentifier(run_name=_content_id(frame), run_time=NO_TIME)
        outcome = checkpoint.run(batch_parameters={"dataframe": _escaped(frame)}, run_id=run_id)
        for result in outcome.run_results.values():
            unmet += [describe(name, item) for item in result.results if not item.success]
            page = next(docs.glob(f"validations/{name}/**/*.html"))
            _remove_times(page, result.meta["batch_markers"]["ge_load_time"])
            done.append(Suite(name, sum(item.success for item in result.results), len(result.results), page.relative_to(docs).as_posix()))
    for page in docs.glob("expectations/*.html"):
        _remove_times(page)
    (docs / "index.html").write_text(_front_page(done, tables, unmet, note), encoding="utf-8")
    return unmet


def _content_id(frame: pd.DataFrame) -> str:
    """Name of a run: what was validated identifies it."""
    return f"content-{hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()[:12]}"


def _remove_times(page: Path, loaded: str | None = None) -> None:
    """Remove from a page of Great Expectations what differs between two runs: times and random ids of its elements.

    Args:
        page: the page.
        loaded: the time at which the frame was loaded, as the page has it.
    """
    text = LOGO_TIME.sub("", page.read_text(encoding="utf-8"))
    for number, element in enumerate(dict.fromkeys(ELEMENT_ID.findall(text))):
        text = text.replace(element, str(number))
    for time in (NO_TIME.strftime("%Y-%m-%dT%H:%M:%SZ"), loaded):
        text = text.replace(time, "not recorded") if time else text
    page.write_text(text, encoding="utf-8")


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """Escape the frame's text for HTML, since Great Expectations writes values into its pages unescaped. Escaping keeps equal values
    equal and different values different, so it does not change whether an expectation is met."""
    return frame.map(lambda value: escape(value).replace("$", "&#36;") if isinstance(value, str) else value)


def _unescaped(value: Any) -> Any:
    return unescape(value) if isinstance(value, str) else value


def _front_page(suites: list[Suite], tables: dict[str, pd.DataFrame], unmet: list[str], note: str) -> str:
    """Entry page of the Data Docs. The entry page of Great Expectations loads scripts from the internet and is empty behind a
    firewall; this one is self-contained."""
    return render(TEMPLATE, suites=suites, tables=tables, unmet=unmet, note=note)


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
