"""A version has its model card among its artifacts and in its run, and `lesionflow card` prints it."""

import shutil

from components import register
from components.core.reports.statements import STATEMENTS_FILE
from components.registry.card.model import Card
from components.runtime import params_file
from tests.mlflow.conftest import MODEL


def card_folder(registry, version):
    return registry.evidence_folder(version).parent / "card"


def test_registered_version_has_card_that_command_prints(registry, run_cli):
    STATEMENTS_FILE.write_text("contact: me@example.org\n", encoding="utf-8")
    registry.write_candidate(registry.predictions_missing(0))
    register.register(params_file.load())
    folder = card_folder(registry, "1")
    assert {path.name for path in folder.iterdir()} == {"card.md", "card.json", "checklist.md"}
    card = Card.read(folder / "card.json")
    assert card.head.model == MODEL
    assert card.rows["identity"].entries["contact"].text == "me@example.org"
    run = registry.get_version("1").run_id
    assert {item.path for item in registry.client.list_artifacts(run, "card")} == {f"card/{path.name}" for path in folder.iterdir()}
    assert run_cli("card").stdout == (folder / "card.md").read_text(encoding="utf-8")
    assert "Gate: **" in registry.get_version("1").description

    older = registry.evidence_folder("1")
    shutil.rmtree(folder)
    for name in ("clinic.json", "cohort.json", "index.json", "params.json", "statements.json"):
        (older / name).unlink()
    result = run_cli("card", "1")
    assert "**Files**: not measured: the version is from before the release that keeps it" in result.stdout


def test_version_without_card_and_candidate_is_named(registry, run_cli):
    registry.register_version()
    result = run_cli("card", "1")
    assert result.exit_code == 1
    assert f"version 1 of {MODEL} has neither a model card nor evidence to make one from" in result.stderr
