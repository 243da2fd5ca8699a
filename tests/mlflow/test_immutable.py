"""The evidence of every version stays unchanged under any sequence of registrations, promotions, rollbacks and verifications.

The store, the register stage and the command line are real. The model is replaced: re-evaluation returns the recorded predictions.
`make test-evidence` tries more and longer sequences.
"""

from collections.abc import Callable, Sequence
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
from tests.mlflow.conftest import RegistryLab

PHASES = st.sampled_from(["phase a", "phase b"])
MISSED_MELANOMAS = st.integers(0, 3)


def state_machine(make_registry: Callable[[], RegistryLab], run_cli: Callable[..., object]) -> type[RuleBasedStateMachine]:
    """The state machine on empty registries that `make_registry` creates."""

    class Registry(RuleBasedStateMachine):
        versions = Bundle("versions")

        def __init__(self) -> None:
            super().__init__()
            self.registry = make_registry()
            self.files_of_version: dict[str, dict[str, bytes]] = {}
            self.hash_of_version: dict[str, str] = {}

        @rule(target=versions, phase=PHASES, missed=MISSED_MELANOMAS)
        def register(self, phase: str, missed: int) -> str:
            """A candidate is identified by its phase model and its errors; registering it twice creates no second version."""
            self.registry.write_candidate(self.registry.predictions_missing(missed), f"{phase} missing {missed}", phase)
            register.register(params_file.load())
            report = read_json(REGISTRATION)
            number = report["version"]
            assert report["new_version"] == (number not in self.files_of_version)
            if report["new_version"]:
                self.files_of_version[number] = evidence_files(self.registry, number)
                self.hash_of_version[number] = self.registry.get_version(number).tags[versions.EVIDENCE_TAG]
                assert load_evidence(self.registry, number).evaluation.test.critical_sensitivity.value == 1 - missed / 4
            return number

        @rule(version=versions, override=st.booleans())
        def promote(self, version: str, override: bool) -> None:
            result = run_cli("champion", "promote", version, *(["--override", "an override"] if override else []))
            assert result.exit_code == 0 or not override, result.stderr
            assert result.exit_code or self.registry.champion() == version

        @rule()
        def roll_back(self) -> None:
            state = self.registry.champion_state()
            target = promotion.rollback_target(state.entries)
            result = run_cli("champion", "rollback")
            assert (result.exit_code == 0) == (target is not None), result.stderr
            assert self.registry.champion() == (target or state.number)

        @rule(version=versions)
        def verify(self, version: str) -> None:
            result = run_cli("champion", "verify", version)
            assert result.exit_code == 0, result.stderr

        @invariant()
        def evidence_is_unchanged(self) -> None:
            assert {number: evidence_files(self.registry, number) for number in self.files_of_version} == self.files_of_version
            folders = {number: self.registry.evidence_folder(number) for number in self.files_of_version}
            assert {number: evidence.folder_sha256(folder) for number, folder in folders.items()} == self.hash_of_version
            recorded = {entry.after: entry.evidence for entry in self.registry.champion_state().entries}
            assert recorded.items() <= self.hash_of_version.items()

    return Registry


def evidence_files(registry: RegistryLab, version: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(registry.evidence_folder(version).iterdir())}


def load_evidence(registry: RegistryLab, version: str) -> evidence.Evidence:
    entries = registry.champion_state().entries
    return evidence.load_evidence(registry.client, registry.get_version(version), promotion.evidence_of(entries, version))


@pytest.mark.parametrize(("examples", "steps"), [(2, 12), pytest.param(40, 30, marks=[pytest.mark.sweep, pytest.mark.timeout(3600)])])
def test_no_sequence_of_commands_changes_evidence(new_registry, run_cli, monkeypatch, examples, steps):
    def log_model(run_id: str, folders: Sequence[Path], *_: object) -> str:
        return registry.log_evidence(run_id, next(folder for folder in folders if folder.name == evidence.FOLDER), None)

    def make_registry() -> RegistryLab:
        nonlocal registry
        registry = new_registry()
        return registry

    registry: RegistryLab = new_registry()
    monkeypatch.setattr(logged_model, "log_model", log_model)
    monkeypatch.setattr(reevaluation, "reevaluate", lambda version, *_: load_evidence(registry, str(version.version)).scored)
    run_state_machine_as_test(
        state_machine(make_registry, run_cli),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=examples < 10,
        ),
    )


pytestmark = pytest.mark.timeout(3600)
