"""Champion and challenger side by side: figures, verdicts, and where each came from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.console import render_table
from app.models.champion import REGISTRY_ERROR
from components.core.escaping import for_terminal
from components.core.label_set import metric_label
from components.core.reports.champion import Overview, VersionOverview
from components.core.reports.evaluation import Estimate
from components.core.reports.registration import Promotion, Rule
from components.registry import version_tags, versions
from components.registry.promotion import ChampionState
from components.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def build_overview(client: "MlflowClient", state: ChampionState) -> Overview:
    """The champion and the challenger."""
    with store.mlflow_errors(REGISTRY_ERROR):
        challenger = versions.version_by_alias(client, state.model, versions.CHALLENGER)
    return Overview(
        model=state.model,
        champion=_version(state.champion, state.entries) if state.champion is not None else None,
        challenger=_version(challenger, state.entries) if challenger is not None else None,
        noticed=state.noticed,
    )


def _version(version: "ModelVersion", entries: Sequence[Promotion]) -> VersionOverview:
    tags, number = version.tags, str(version.version)
    made = next((entry for entry in reversed(entries) if entry.after == number), None)
    return VersionOverview(
        version=number,
        run_id=version.run_id or None,
        phase=tags.get("phase"),
        label_set=version_tags.label_set_of(tags),
        data_md5=tags.get("data.md5"),
        test_split_hash=tags.get("test_split_hash"),
        git_commit=tags.get("git.commit"),
        gate=tags.get("gate", version_tags.NEVER_JUDGED),
        judged_at=tags.get("judged.at"),
        judged_against=tags.get("judged.against"),
        rules=version_tags.rules_of(tags),
        figures=version_tags.metrics_of(tags),
        champion_since=made.when if made else None,
        champion_by=f"{made.source}, {made.who}" if made else None,
    )


def overview_table(overview: Overview) -> str:
    """Champion and challenger side by side, for a person."""
    pair = {versions.CHAMPION: overview.champion, versions.CHALLENGER: overview.challenger}
    if overview.champion and overview.challenger and overview.champion.version == overview.challenger.version:
        pair = {"champion and challenger": overview.champion}
    shown = {name: version for name, version in pair.items() if version}
    if not shown:
        return f"{overview.model} has no champion and no challenger: {versions.HOW_TO_REGISTER}"
    from rich.table import Table

    table = Table(title=overview.model, title_justify="left", show_edge=False)
    table.add_column("")
    for name in shown:
        table.add_column(name, overflow="fold")
    facts = [_facts(version) for version in shown.values()]
    for label in facts[0]:
        table.add_row(label, *(row[label] or "-" for row in facts))
    table.add_section()
    critical = next((version.label_set.critical for version in shown.values() if version.label_set), None)
    for figure in dict.fromkeys(figure for version in shown.values() for figure in version.figures):
        table.add_row(metric_label(figure, critical), *(_interval(version.figures.get(figure)) for version in shown.values()))
    table.add_section()
    table.add_row("gate", *(f"{version.gate}{_judged_against(version)}" for version in shown.values()))
    for rule in dict.fromkeys(rule.name for version in shown.values() for rule in version.rules):
        table.add_row(f"  {rule}", *(_rule_cell(version.rules, rule) for version in shown.values()))
    lines = [render_table(table)]
    if overview.champion is None:
        lines.append("no champion: `lesionflow champion promote VERSION` makes one")
    return "\n".join(lines)


def _facts(version: VersionOverview) -> dict[str, str | None]:
    return {
        "version": version.version,
        "champion since": version.champion_since,
        "made so by": version.champion_by,
        "phase": version.phase,
        "label set": f"{version.label_set.name}: {', '.join(version.label_set.outputs)}" if version.label_set else None,
        "data md5": version.data_md5,
        "MLflow run": version.run_id,
    }


def _interval(figure: Estimate | None) -> str:
    return version_tags.interval_text(figure) if figure else "-"


def _judged_against(version: VersionOverview) -> str:
    if version.judged_at is None:
        return ""
    rival = version.judged_against
    return f" {'with no champion to beat' if rival == 'none' else f'against version {rival}'}, {version.judged_at}"


def _rule_cell(rules: list[Rule], name: str) -> str:
    rule = next((row for row in rules if row.name == name), None)
    return f"{'pass' if rule.passed else 'FAIL'}: {for_terminal(rule.says)}" if rule else "-"
