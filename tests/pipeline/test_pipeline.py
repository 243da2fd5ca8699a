"""The pipeline through the real DVC, in an order in which each test leaves the project as good as it found it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
import yaml

from components.core.classes import CLASSES
from components.evaluation.shifts import SHIFTS
from components.registry.evidence import folder_sha256
from flows.stages import STAGES
from tests.support.project import COLLECTIONS, DEAD_PROXY, ROOT, WILD, Project, nameless_or_skip, ran

pytestmark = pytest.mark.timeout(900)


def lock(project: Project) -> dict:
    return yaml.safe_load((project.root / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def output_hashes(project: Project, stage: str) -> dict[str, str]:
    return {out["path"]: out["md5"] for out in lock(project)[stage]["outs"] if out["path"].startswith("build/")}


def report(project: Project, name: str) -> dict:
    return json.loads((project.root / "reports" / f"{name}.json").read_text(encoding="utf-8"))


def test_a_second_run_does_nothing(project):
    assert ran(project.repro()) == []


@pytest.fixture(scope="module")
def elsewhere(project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, tuple[str, ...], dict[str, str]]:
    """The project that was run, as an archive unpacked in another folder, with the user and the variables of a hospital's container."""
    root = tmp_path_factory.mktemp("elsewhere") / "a clinic's Größe"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns(".git", ".prefect"))
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / ".venv").mkdir()
    (root / ".venv" / ".ready").write_text(f"{root}\n", encoding="utf-8")
    return Project(root), nameless_or_skip(), {"HOME": "/proc/nonexistent", "USER": "", "LOGNAME": "", **DEAD_PROXY}


def test_a_moved_checkout_without_git_is_up_to_date_for_a_nameless_user_behind_a_proxy(elsewhere):
    project, nameless, environment = elsewhere
    said = project.run(*nameless, "make", "run", **environment).stdout
    assert ran(said) == []
    assert "Traceback" not in said
    assert "balanced accuracy" in said


def test_a_version_that_moved_along_is_promoted_and_predicts(elsewhere):
    project, nameless, environment = elsewhere
    version = report(project, "registration")["version"]
    lesionflow = (*nameless, "python", "-m", "app.cli")
    project.run(*lesionflow, "champion", "promote", version, "--override", "a trial", **environment)
    history = project.run(*lesionflow, "champion", "history", "--format", "json", **environment).stdout
    assert json.loads(history[history.index("[\n") :])[-1]["who"] == "user id 54321"
    image = next((project.root / "data/melanoma").iterdir())
    said = project.run(*lesionflow, "predict", "--format", "json", str(image), **environment).stdout
    assert json.loads(said[said.index("[\n") :])[0]["version"] == version


def test_every_report_is_there_and_figures_carry_intervals(project):
    evaluation = report(project, "evaluation")
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "critical_sensitivity", "calibration_error"):
        figure = evaluation["test"][name]
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1, name
    assert set(evaluation["per_class"]) == set(CLASSES)
    assert {"precision", "recall", "f1", "specificity"} <= set(evaluation["per_class"]["melanoma"])
    assert set(evaluation["shifts"]) == set(SHIFTS)
    for row in evaluation["shifts"].values():
        assert row["drop"]["value"] == pytest.approx(evaluation["test"]["balanced_accuracy"]["value"] - row["balanced_accuracy"])
    assert set(evaluation["collections_left_out"]) == set(COLLECTIONS)
    for row in evaluation["collections_left_out"].values():
        assert row["images"] > 1 < len(row["classes"])
    assert len(pd.read_csv(project.root / "reports/evaluation/shifts.csv")) == len(SHIFTS) + len(COLLECTIONS)
    for name in ("confusion.png", "roc.png", "reliability.png", "mistakes.png", "shifts.png", "shifts_examples.png"):
        assert (project.root / "reports/evaluation" / name).stat().st_size > 5000
    assert (project.root / "reports/validation/index.html").exists()
    assert (project.root / "reports/augment/views.png").exists()
    assert report(project, "export")["float16"]["same_top1"] >= 0.9


def test_images_keep_their_names_from_the_dataset_to_the_predictions(project):
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    features = [pd.read_parquet(project.root / f"build/features/{side}.parquet") for side in ("train", "validation")]
    predictions = pd.read_parquet(project.root / "build/candidate/test_predictions.parquet")
    used = {path for table in (*features, predictions) for path in table["path"]}
    assert used == set(splits["path"])
    assert {Path(path).name for path in used} > set(WILD)


def test_no_lesion_stands_on_two_sides(project):
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    assert splits.groupby("lesion_id")["side"].nunique().max() == 1
    assert splits.groupby("group")["side"].nunique().max() == 1


def test_only_training_images_are_augmented(project):
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    for side in ("validation", "test"):
        index = json.loads((project.root / f"build/shards/{side}/index.json").read_text())
        assert index["per_number"] == [(splits["side"] == side).sum()]


def test_metrics_and_plots_commands_work(project):
    assert "balanced_accuracy" in project.run("dvc", "metrics", "show").stdout
    project.run("dvc", "metrics", "diff")
    project.run("dvc", "plots", "show", "-o", "plots")
    assert (project.root / "plots/index.html").exists()


def test_editing_code_that_no_stage_runs_reruns_nothing(project):
    for name in ("synthetic/pretrain", "runtime/params", "runtime/stage", "tracking/runs", "tracking/store"):
        path = project.root / "components" / f"{name}.py"
        path.write_text(path.read_text(encoding="utf-8") + "\n# another comment\n", encoding="utf-8")
    assert ran(project.repro()) == []


@pytest.mark.parametrize("stage", ["augment", "train", "finetune"])
def test_a_stage_run_again_gives_the_same_output_to_the_last_bit(project, stage):
    before = output_hashes(project, stage)
    project.repro("--force", "--single-item", "--no-run-cache", stage)
    assert output_hashes(project, stage) == before


def test_registering_the_same_candidate_again_makes_no_second_version(project):
    first = report(project, "registration")["version"]
    project.repro("--force", "--single-item", "register")
    again = report(project, "registration")
    assert again["version"] == first
    assert again["new_version"] is False


def test_a_version_says_where_it_came_from_and_its_run_holds_the_curves(project):
    from mlflow import MlflowClient

    registered = report(project, "registration")
    uri = f"sqlite:///{project.root / 'mlruns/mlflow.db'}"
    client = MlflowClient(uri, uri)
    version = client.get_model_version(registered["model"], registered["version"])
    assert version.tags["test_split_hash"] == report(project, "split")["test_split_hash"]
    assert version.tags["data.md5"].endswith(".dir")
    assert version.tags["gate"] in ("passed", "failed")
    assert {"git.commit", "git.dirty", "catalog.sha256", "model_sha256", "test.balanced_accuracy"} <= set(version.tags)
    run = client.get_run(version.run_id)
    assert (
        len(client.get_metric_history(version.run_id, "val_loss"))
        == report(project, f"{'train' if run.data.tags['phase'] == 'frozen' else 'finetune'}")["epochs"]
    )
    assert client.get_model_version_by_alias(registered["model"], "challenger").version == version.version
    artifacts = {item.path for item in client.list_artifacts(version.run_id)}
    assert {"evaluation", "export", "reports", "data_docs"} <= artifacts
    assert run.info.run_name.startswith(run.data.tags["phase"])
    phase = client.get_run(run.data.tags["phase_run"])
    assert (phase.data.tags["phase"], "val_loss" in phase.data.metrics) == (run.data.tags["phase"], True)
    assert phase.info.run_id != version.run_id
    assert not client.list_artifacts(phase.info.run_id), "what belongs to one candidate is not in a run that several share"
    logged_model = urlsplit(client.get_model_version_download_uri(version.name, version.version)).path
    evidence = Path(unquote(logged_model), "artifacts/evidence")
    assert folder_sha256(evidence) == version.tags["evidence.sha256"]
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    assert len(pd.read_parquet(evidence / "split.parquet")) == len(splits)
    figures = report(project, "evaluation")["test"]["balanced_accuracy"]
    logged = [run.data.metrics[f"{section}/balanced_accuracy"] for section in ("test", "test_low", "test_high")]
    assert logged == pytest.approx([figures["value"], figures["low"], figures["high"]])
    blurred = report(project, "evaluation")["shifts"]["blur"]
    assert run.data.metrics["shift/blur"] == pytest.approx(blurred["balanced_accuracy"])
    assert run.data.metrics["shift_loss/blur"] == pytest.approx(blurred["drop"]["value"])
    assert f"Gate: **{version.tags['gate']}**" in version.description
    assert f"| balanced accuracy | {figures['value']:.4f} | {figures['low']:.4f} to {figures['high']:.4f} |" in version.description


def champion(project: Project, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return project.run("python", "-m", "app.cli", "champion", *arguments, check=check)


def test_a_version_that_a_person_makes_champion_serves_and_measures_what_was_recorded(project):
    version = report(project, "registration")["version"]
    champion(project, "promote", version, "--override", "a test wants a champion")
    assert champion(project, "promote", version).stdout.strip().endswith("is already the champion; nothing was changed")
    shown = champion(project, "show", "--format", "json").stdout
    assert json.loads(shown)["champion"]["version"] == version, shown
    image = str(next((project.root / "data/nevus").iterdir()))
    predicted = project.run("python", "-m", "app.cli", "predict", "--format", "json", image).stdout
    assert json.loads(predicted[predicted.index("[\n") :])[0]["version"] == version
    verified = champion(project, "verify", "--format", "json").stdout
    figures = json.loads(verified[verified.index("{\n") :])
    assert (figures["moved"], figures["unsupported"], figures["changed_diagnoses"]) == ([], [], 0)
    assert figures["images"] == report(project, "evaluation")["test"]["images"]
    assert figures["largest_change"] < 1e-4


def test_a_store_that_lacks_the_version_gets_it_by_the_command_that_messages_name(project, tmp_path):
    twin = project.copy(tmp_path / "twin")  # with a store of its own, which is empty
    assert ran(twin.repro()) == []
    image = str(next((twin.root / "data/nevus").iterdir()))
    said = twin.run("python", "-m", "app.cli", "predict", image, check=False).stdout
    assert "`dvc repro --force --single-item register` registers it here" in said
    twin.repro("--force", "--single-item", "register")
    shown = json.loads(champion(twin, "show", "--format", "json").stdout)
    assert shown["challenger"]["version"] == report(twin, "registration")["version"] == "1"


def test_a_prediction_is_the_one_that_was_measured_on_test(project):
    measured = pd.read_parquet(project.root / "build/candidate/test_predictions.parquet").head(3)
    paths = [f"data/{path}" for path in measured["path"]]
    version = report(project, "registration")["version"]
    done = project.run("python", "-m", "app.cli", "predict", "--format", "json", "--model-version", version, *paths)
    rows = json.loads(done.stdout[done.stdout.index("[\n") :])
    for row, (_, expected) in zip(rows, measured.iterrows(), strict=True):
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        for name in CLASSES:
            assert row["probabilities"][name] == pytest.approx(expected[f"p_{name}"], abs=1e-4)


def test_a_candidate_keeps_the_resolution_its_training_images_were_brought_to(project):
    card = json.loads((project.root / "build/candidate/candidate.json").read_text(encoding="utf-8"))
    assert (card["resolution"], card["image_size"]) == (48, 96)


def test_a_bad_image_is_named_and_the_others_are_still_diagnosed(project):
    good = Path("data/nevus") / sorted(path.name for path in (project.root / "data/nevus").iterdir())[0]
    (project.root / "text.jpg").write_text("no image")
    version = report(project, "registration")["version"]
    asked = (str(good), "data/melanoma/[x].jpg", "text.jpg", "gone.jpg")
    done = project.run("python", "-m", "app.cli", "predict", "--model-version", version, *asked, check=False)
    assert done.returncode == 1
    assert "text.jpg: not a JPEG or PNG image" in done.stdout
    assert "gone.jpg: no such file" in done.stdout
    assert good.name in done.stdout
    assert "data/melanoma/[x].jpg" in done.stdout
    assert "Traceback" not in done.stdout


def said_by_flow(output: str) -> list[tuple[str, str]]:
    """Each stage of a flow that was run on the command line, and whether it ran or was cached."""
    rows = [line.split() for line in output.splitlines() if line.endswith(" s")]
    return [(row[0], row[1]) for row in rows if row and row[0] in STAGES]


def test_what_a_touched_image_reruns_is_run_after_a_kill_too_and_by_the_flow_as_by_dvc(project, tmp_path):
    cached = project.run("python", "-m", "flows.training", **DEAD_PROXY).stdout
    assert said_by_flow(cached) == [(stage, "cached") for stage in STAGES]

    twin = project.copy(tmp_path / "twin")
    before = output_hashes(twin, "augment")
    for one in (project, twin):
        image = sorted((one.root / "data/nevus").glob("*.jpg"))[0]
        image.write_bytes(image.read_bytes() + b"\0")
    kill_within_augment(twin)
    assert not (twin.root / "build/shards").exists()
    assert "does not exist" in twin.stage("embed").stdout
    by_dvc = ["validate", "split", *ran(twin.repro())]
    assert output_hashes(twin, "augment") == before, "a killed stage is never taken for a whole one, and pixels are as they were"

    touched = said_by_flow(project.run("python", "-m", "flows.training").stdout)
    assert [stage for stage, how in touched if how == "ran"] == by_dvc
    assert by_dvc[:3] == ["validate", "split", "augment"]
    assert ran(project.repro()) == []


def kill_within_augment(project: Project) -> None:
    """Run the pipeline, and kill it with all that it started while augment writes."""
    with (project.root / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            ["dvc", "repro"], cwd=project.root, env=project.environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    draft = project.root / "build/.shards.partial"
    deadline = time.monotonic() + 240
    while not draft.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    said = (project.root / "killed.log").read_text(encoding="utf-8")
    assert draft.exists(), said
    assert ran(said) == ["validate", "split", "augment"]


def test_a_failed_stage_in_the_flow_shows_the_stages_own_message(project, tmp_path):
    twin = project.copy(tmp_path / "twin")
    (twin.root / "data/nevus/bad.jpg").write_text("no image")
    done = twin.run("python", "-m", "flows.training", check=False)
    assert done.returncode == 1
    assert "error: validate failed:" in done.stdout
    assert "nevus/bad.jpg: not a JPEG or PNG image" in done.stdout


def test_changing_the_dropout_reruns_training_and_what_follows_and_nothing_before(project):
    dropout = yaml.safe_load((project.root / "params.yaml").read_text(encoding="utf-8"))["train"]["dropout"]
    project.set_params({"train": {"dropout": 0.5}})
    assert ran(project.repro("train")) == ["train"]
    due = ran(project.repro("--dry"))
    assert due[:2] == ["finetune", "evaluate"], "what reads the new model is due; what reads their outputs is known once they have run"
    project.set_params({"train": {"dropout": dropout}})
    assert ran(project.repro()) == [], "what was made before is taken from DVC's cache"


def test_a_misspelled_param_stops_with_its_name(project, tmp_path):
    twin = project.copy(tmp_path / "twin")
    text = (twin.root / "params.yaml").read_text(encoding="utf-8")
    (twin.root / "params.yaml").write_text(text.replace("dropout:", "droput:"), encoding="utf-8")
    output = twin.repro(check=False)
    assert "train.droput: unknown key; did you mean 'dropout'?" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: [path.unlink() for path in (data / "melanoma").iterdir()], "melanoma: 0 usable images"),
        (lambda data: (data / "nevus/empty.jpg").touch(), "nevus/empty.jpg: empty file"),
        (
            lambda data: (data / "metadata.csv").open("a").write("X,nevus/gone.jpg,nevus,L,c,l\n"),
            "1 missing_file (listed in metadata.csv, but the file does not exist)",
        ),
        (lambda data: __import__("shutil").rmtree(data), "data/ does not exist"),
    ],
    ids=["empty class", "empty file", "metadata", "no data"],
)
def test_bad_data_stops_validation_with_what_to_mend(project, tmp_path, spoil, said):
    twin = project.copy(tmp_path / "twin")
    spoil(twin.root / "data")
    done = twin.stage("validate")
    assert done.returncode == 1
    assert said in done.stdout
    assert "Traceback" not in done.stdout


def test_a_tracking_server_that_is_down_stops_training_before_it_starts(project):
    done = project.stage("train", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 75
    assert "MLflow's store http://127.0.0.1:9 does not respond" in done.stdout
    assert "Epoch" not in done.stdout
    assert "Traceback" not in done.stdout


def test_a_locked_database_is_named(project):
    holder = sqlite3.connect(project.root / "mlruns/mlflow.db")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        done = project.stage("register")
    finally:
        holder.rollback()
        holder.close()
    assert done.returncode == 75
    assert "locked" in done.stdout
    assert "Traceback" not in done.stdout
    assert project.stage("register").returncode == 0


def test_a_full_disk_is_said_and_leaves_no_shards(project, tmp_path):
    twin = project.copy(tmp_path / "twin")
    before = sorted(path.name for path in (twin.root / "build").iterdir())
    done = twin.run("bash", "-c", "ulimit -f 300; trap '' XFSZ; python -m components.augment", check=False)
    assert done.returncode == 1
    assert "cannot be written" in done.stdout
    assert "Free some space" in done.stdout
    assert "Traceback" not in done.stdout
    assert sorted(path.name for path in (twin.root / "build").iterdir()) == before


def test_import_replaces_the_dataset_and_keeps_the_previous_one_reachable(project, tmp_path):
    twin = project.copy(tmp_path / "twin")
    twin.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--allow-empty", "-qam", "data")
    before = (twin.root / "data.dvc").read_text()
    source = tmp_path / "source"
    for name in ("Train/Nevus", "Test/nevus", "Train/Seborrheic Keratosis"):
        (source / name).mkdir(parents=True)
    images = sorted((twin.root / "data/nevus").glob("*.jpg"))
    for folder, image in zip(("Train/Nevus", "Test/nevus", "Train/Seborrheic Keratosis"), images, strict=False):
        (source / folder / "a.jpg").write_bytes(image.read_bytes())
    done = twin.run("python", "-m", "app.cli", "import", str(source))
    assert "imported 3 files in 2 of 9 classes" in done.stdout
    assert sorted(path.name for path in (twin.root / "data/nevus").iterdir()) == ["Train_a.jpg", "a.jpg"]
    assert (twin.root / "data.dvc").read_text() != before
    refused = twin.run("python", "-m", "app.cli", "import", str(source), check=False)
    assert refused.returncode == 1
    assert "is not committed" in refused.stdout
    apart = twin.run("python", "-m", "app.cli", "data", "diff", "HEAD").stdout
    assert "from HEAD to data/: 0 added" in apart
    assert "1 relabelled, 1 changed, 2 renamed" in apart  # all three were there as nevi; metadata.csv is the one that changed
    assert "-> nevus/Train_a.jpg" in apart
    twin.run("git", "checkout", "data.dvc")
    twin.run("dvc", "checkout", "data.dvc")
    assert len(list(Path(twin.root / "data/nevus").iterdir())) > 3
