"""Applies the policy to findings: which files are excluded and why, and which findings fail the stage."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from components.core.errors import LesionflowError
from components.core.escaping import for_terminal
from components.data_quality.decisions import Decisions
from components.data_quality.findings import KINDS, Finding
from components.runtime.validation_params import Policy, Rule

MAX_LISTED = 5
"""Number of files listed on the terminal for a kind that fails the stage."""
DROPPED_BY_REVIEWER = "dropped"
LEFT_OUT = ("fail", "quarantine")
"""Actions that exclude files: `fail` with a limit acts like `quarantine`; without one the first file fails the stage."""
NEVER_KEPT = ("unreadable", "unknown_class", "not_in_label_set")
"""Kinds of finding whose files cannot be kept by a decision."""


def policy_for(policy: Policy, kind: str) -> Rule:
    """Policy for a kind of finding."""
    return getattr(policy, kind)


def max_files_of(rule: Rule) -> int | None:
    """Maximum number of files with a kind of finding; None means no limit."""
    return 0 if rule.action == "fail" and rule.max_files is None else rule.max_files


def apply_policy(findings: list[Finding], policy: Policy, decisions: Decisions, diagnosis: dict[str, str]) -> dict[str, str]:
    """Return the reasons of all excluded files, by path.

    Decisions take precedence: a dropped file is excluded, a kept file is used, and the other files of its conflicts are excluded.
    Kinds of finding are applied in the order of KINDS; the first reason of a file is recorded, and copies of files that are already
    excluded do not count.

    Raises:
        LesionflowError: two files of one conflict are kept with different classes, or a kept file cannot be used.
    """
    reasons = dict.fromkeys(decisions.drop, f"{DROPPED_BY_REVIEWER}: decisions.csv")
    order = {kind: number for number, kind in enumerate(KINDS)}
    for finding in sorted(findings, key=lambda one: order[one.kind]):
        action = policy_for(policy, finding.kind).action
        left = [path for path in finding.subjects if path not in reasons]
        if finding.kind == "label_conflict":
            _one_label_kept(finding, decisions, diagnosis)
        if finding.kind in NEVER_KEPT and finding.subjects[0] in decisions.keep:
            raise LesionflowError(
                f"decisions.csv keeps {finding.subjects[0]}, which is {finding.kind} ({finding.message}). Drop it or, if only its folder is"
                " wrong, relabel it."
            )
        if action in LEFT_OUT:
            for path in left:
                if path not in decisions.keep:
                    reasons[path] = f"{finding.kind}: {finding.message}"
        elif action == "keep one" and len(left) > 1:
            first = next((path for path in left if path in decisions.keep), left[0])
            for path in left:
                if path != first:
                    reasons[path] = f"{finding.kind}: {finding.message} as {first}"
    return reasons


def _one_label_kept(finding: Finding, decisions: Decisions, diagnosis: dict[str, str]) -> None:
    kept = [path for path in finding.subjects if path in decisions.keep]
    if len({diagnosis[path] for path in kept}) > 1:
        raise LesionflowError(f"decisions.csv keeps the same image in two classes ({', '.join(kept)}). Drop or relabel one of them.")


def count_findings(findings: list[Finding]) -> Counter[str]:
    """Count the files (or classes) with each kind of finding, each file once per kind."""
    seen = {(finding.kind, path) for finding in findings for path in finding.subjects}
    return Counter(kind for kind, _ in seen)


def policy_violations(findings: list[Finding], policy: Policy) -> list[str]:
    """Describe the kinds that exceed their limit, a few lines per kind; empty if none does."""
    lines: list[str] = []
    for kind, count in sorted(count_findings(findings).items()):
        limit = max_files_of(policy_for(policy, kind))
        if limit is None or count <= limit:
            continue
        allows = (
            f"validate.policy.{kind}.max_files allows {limit}"
            if policy_for(policy, kind).max_files is not None
            else (f"validate.policy.{kind}.action is fail, without max_files")
        )
        lines.append(f"{count} {kind} ({KINDS[kind]}); {allows}:")
        named = [(path, finding.message) for finding in findings if finding.kind == kind for path in finding.subjects]
        lines += [f"  {for_terminal(path)}: {for_terminal(says)}" for path, says in named[:MAX_LISTED]]
        if len(named) > MAX_LISTED:
            lines.append(f"  and {len(named) - MAX_LISTED} more")
    return lines


def as_table(findings: list[Finding], policy: Policy, reasons: dict[str, str], files: pd.DataFrame) -> pd.DataFrame:
    """One row per finding and file: kind, number, rank, path, then, left_out, says, sha256, diagnosis."""
    known = files.set_index("path")
    rows = [
        (finding.kind, number, finding.severity, path, policy_for(policy, finding.kind).action, reasons.get(path, ""), finding.message)
        for number, finding in enumerate(findings)
        for path in finding.subjects
    ]
    table = pd.DataFrame(rows, columns=["kind", "number", "rank", "path", "then", "left_out", "says"])
    for column in ("sha256", "diagnosis"):
        table[column] = table["path"].map(known[column])
    return table


def per_class(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count the files with each kind of finding by class; `none` for files without a class."""
    files = table.drop_duplicates(["kind", "path"])
    names = files["diagnosis"].astype(object).where(files["diagnosis"].notna(), "none")
    found = Counter(zip(files["kind"], names, strict=True))
    return {
        kind: {name: found[kind, name] for name in (*classes, "none") if found[kind, name]} for kind in KINDS if kind in set(files["kind"])
    }
