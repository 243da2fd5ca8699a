"""Whatever is registered, promoted, rolled back and verified, and in which order: every version's evidence stays as it was written.

The store, the register stage and the command line are real; the model is not: a version is measured again by its own predictions.
`make test-evidence` tries more and longer sequences.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from components import register
from components.core.files import read_json
from components.core.paths import REGISTRATION
from components.registry import evidence, promotion, reevaluation, versions
from components.runtime import params_file
from components.serving import logged_model
from tests.mlflow.conftest import Lab

PHASES = st.sampled_from(["phase a", "phase b"])
MISSED = st.integers(0, 3)


def machine(make: Callable[[], Lab], run_cli: Callable[..., object]) -> type[RuleBasedStateMachine]:
    """The state machine on registries that `make` makes empty."""

    class Registry(RuleBasedStateMachine):
        versions = Bundle("versions")

        def __init__(self) -> None:
            super().__init__()
            self.lab = make()
            self.written: dict[str, dict[str, bytes]] = {}
            self.hashes: dict[str, str] = {}

        @rule(target=versions, phase=PHASES, missed=MISSED)
        def register(self, phase: str, missed: int) -> str:
            """A candidate is its phase model and what it misses: the same one again makes no version."""
            self.lab.candidate(self.lab.missing(missed), f"{phase} missing {missed}", phase)
            register.register(params_file.load())
            report = read_json(REGISTRATION)
            number = report["version"]
            assert report["new_version"] == (number not in self.written)
            if report["new_version"]:
                self.written[number] = stored(self.lab, number)
                self.hashes[number] = self.lab.get(number).tags[versions.EVIDENCE_TAG]
                assert read(self.lab, number).evaluation.test.critical_sensitivity.value == 1 - missed / 4
            return number

        @rule(version=versions, override=st.booleans())
        def promote(self, version: str, override: bool) -> None:
            done = run_cli("champion", "promote", version, *(["--override", "a person says so"] if override else []))
            assert done.exit_code == 0 or not override, done.stderr
            assert done.exit_code or self.lab.champion() == version

        @rule()
        def roll_back(self) -> None:
            state = self.lab.look()
            target = promotion.rollback_target(state.entries)
            done = run_cli("champion", "rollback")
            assert (done.exit_code == 0) == (target is not None), done.stderr
            assert self.lab.champion() == (target or state.number)

        @rule(version=versions)
        def verify(self, version: str) -> None:
            done = run_cli("champion", "verify", version)
            assert done.exit_code == 0, done.stderr

        @invariant()
        def evidence_is_as_it_was_written(self) -> None:
            assert {number: stored(self.lab, number) for number in self.written} == self.written
            assert {number: evidence.folder_sha256(self.lab.evidence_folder(number)) for number in self.written} == self.hashes
            recorded = {entry.after: entry.evidence for entry in self.lab.look().entries}
            assert recorded.items() <= self.hashes.items()

    return Registry


def stored(lab: Lab, version: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(lab.evidence_folder(version).iterdir())}


def read(lab: Lab, version: str) -> evidence.Evidence:
    return evidence.load_evidence(lab.client, lab.get(version), promotion.evidence_of(lab.look().entries, version))


@pytest.mark.parametrize(("examples", "steps"), [(2, 12), pytest.param(40, 30, marks=[pytest.mark.sweep, pytest.mark.timeout(3600)])])
def test_no_sequence_of_commands_changes_evidence(new_lab, run_cli, monkeypatch, examples, steps):
    def log_model(run_id: str, candidate: Path, folder: Path, *_: object) -> str:  # noqa: ARG001
        return lab.log(run_id, folder, None)

    def make() -> Lab:
        nonlocal lab
        lab = new_lab()
        return lab

    lab: Lab = new_lab()
    monkeypatch.setattr(logged_model, "log_model", log_model)
    monkeypatch.setattr(reevaluation, "reevaluate", lambda version, *_: read(lab, str(version.version)).scored)
    run_state_machine_as_test(
        machine(make, run_cli),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=examples < 10,
        ),
    )


pytestmark = pytest.mark.timeout(3600)
