"""What is done about findings: which files are left out and why, and what stops the stage."""

from collections import Counter

import pandas as pd

from components.core.errors import LesionflowError
from components.core.escaping import for_terminal
from components.data_quality.decisions import Decisions
from components.data_quality.findings import KINDS, Finding
from components.runtime.params import Policy, Rule

SHOWN = 5
"""Files named on the terminal for a kind that stops the stage."""
BY_A_PERSON = "dropped"
LEFT_OUT = ("fail", "quarantine")
"""What is found under these rules is never used: `fail` with a limit is `quarantine`, without one the first stops the stage."""
NEVER_KEPT = ("unreadable", "unplaced")
"""Kinds of finding whose files no decision can make usable."""


def rule(policy: Policy, kind: str) -> Rule:
    """The rule for a kind of finding."""
    return getattr(policy, kind)


def most(rule: Rule) -> int | None:
    """How many files may show a kind before the stage fails; None: any number."""
    return 0 if rule.then == "fail" and rule.at_most is None else rule.at_most


def apply(findings: list[Finding], policy: Policy, decisions: Decisions, diagnosis: dict[str, str]) -> dict[str, str]:
    """Why each file that is left out is left out, by path.

    Decisions come first: a dropped file is out, a kept one in. In a conflict with a kept file, the others stay out. Then kinds
    in the order of KINDS; the first reason a file gets is the one it keeps, and copies of files already out do not count.

    Raises:
        LesionflowError: two files of one conflict are kept under different classes, or a file is kept that cannot be used.
    """
    reasons = dict.fromkeys(decisions.drop, f"{BY_A_PERSON}: decisions.csv")
    order = {kind: number for number, kind in enumerate(KINDS)}
    for finding in sorted(findings, key=lambda one: order[one.kind]):
        then = rule(policy, finding.kind).then
        left = [path for path in finding.paths if path not in reasons]
        if finding.kind == "label_conflict":
            _one_label_kept(finding, decisions, diagnosis)
        if finding.kind in NEVER_KEPT and finding.paths[0] in decisions.keep:
            raise LesionflowError(
                f"decisions.csv keeps {finding.paths[0]}, which is {finding.kind} ({finding.says}): drop it or, where only its folder is"
                " wrong, relabel it"
            )
        if then in LEFT_OUT:
            for path in left:
                if path not in decisions.keep:
                    reasons[path] = f"{finding.kind}: {finding.says}"
        elif then == "keep one" and len(left) > 1:
            first = next((path for path in left if path in decisions.keep), left[0])
            for path in left:
                if path != first:
                    reasons[path] = f"{finding.kind}: {finding.says} as {first}"
    return reasons


def _one_label_kept(finding: Finding, decisions: Decisions, diagnosis: dict[str, str]) -> None:
    kept = [path for path in finding.paths if path in decisions.keep]
    if len({diagnosis[path] for path in kept}) > 1:
        raise LesionflowError(f"decisions.csv keeps one picture under two classes ({', '.join(kept)}): drop or relabel one of them")


def counts(findings: list[Finding]) -> Counter[str]:
    """Files, or whatever else is named, that show each kind; a file once per kind."""
    seen = {(finding.kind, path) for finding in findings for path in finding.paths}
    return Counter(kind for kind, _ in seen)


def exceeded(findings: list[Finding], policy: Policy) -> list[str]:
    """What stops the stage, a few lines for each kind; empty where nothing does."""
    lines: list[str] = []
    for kind, count in sorted(counts(findings).items()):
        limit = most(rule(policy, kind))
        if limit is None or count <= limit:
            continue
        allows = (
            f"validate.policy.{kind}.at_most allows {limit}"
            if rule(policy, kind).at_most is not None
            else (f"validate.policy.{kind}.then is fail, and no at_most allows any")
        )
        lines.append(f"{count} {kind} ({KINDS[kind]}); {allows}:")
        named = [(path, finding.says) for finding in findings if finding.kind == kind for path in finding.paths]
        lines += [f"  {for_terminal(path)}: {for_terminal(says)}" for path, says in named[:SHOWN]]
        if len(named) > SHOWN:
            lines.append(f"  and {len(named) - SHOWN} more")
    return lines


def as_table(findings: list[Finding], policy: Policy, reasons: dict[str, str], files: pd.DataFrame) -> pd.DataFrame:
    """A row per finding and file: kind, number, rank, path, then, left_out, says, sha256, diagnosis."""
    known = files.set_index("path")
    rows = [
        (finding.kind, number, finding.rank, path, rule(policy, finding.kind).then, reasons.get(path, ""), finding.says)
        for number, finding in enumerate(findings)
        for path in finding.paths
    ]
    table = pd.DataFrame(rows, columns=["kind", "number", "rank", "path", "then", "left_out", "says"])
    for column in ("sha256", "diagnosis"):
        table[column] = table["path"].map(known[column])
    return table


def per_class(table: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Files that show each kind, by class; `none` where a file has no class."""
    files = table.drop_duplicates(["kind", "path"])
    names = files["diagnosis"].astype(object).where(files["diagnosis"].notna(), "none")
    found = Counter(zip(files["kind"], names, strict=True))
    return {
        kind: {name: found[kind, name] for name in (*classes, "none") if found[kind, name]} for kind in KINDS if kind in set(files["kind"])
    }
