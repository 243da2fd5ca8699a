"""The pipeline with the real DVC. The tests run in file order and share one project, which each test leaves usable."""

import io
import json
import shutil
import sqlite3
from contextlib import chdir
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
import yaml

from app.data.image_metadata import without_metadata
from components import validate
from components.core.errors import LesionflowError
from components.evaluation.shifts import SHIFTS
from components.registry.evidence import folder_sha256
from components.runtime.params_file import load
from tests.support.labels import CLASSES
from tests.support.project import COLLECTIONS, DEAD_PROXY, ROOT, WILD, Project, nameless_or_skip, ran

pytestmark = pytest.mark.timeout(900)


def report(project: Project, name: str) -> dict:
    return json.loads((project.root / "reports" / f"{name}.json").read_text(encoding="utf-8"))


def test_second_run_runs_no_stage(project):
    assert ran(project.repro()) == []


def test_edited_synonym_runs_only_validate(project):
    path = project.root / "labels/isic9.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[df, dermatofibromas]", "[df, dermatofibromas, histiocytoma]"), encoding="utf-8")
    assert ran(project.repro()) == ["validate"]
    path.write_text(text, encoding="utf-8")
    assert ran(project.repro()) == []


@pytest.fixture(scope="module")
def moved_checkout(project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, tuple[str, ...], dict[str, str]]:
    """The built project without .git in another folder, with the command prefix and variables of a container for an unnamed user."""
    root = tmp_path_factory.mktemp("elsewhere") / "a clinic's Größe"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns(".git", ".prefect"))
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / ".venv").mkdir()
    (root / ".venv" / ".ready").write_text(f"{root}\n", encoding="utf-8")
    return Project(root), nameless_or_skip(), {"HOME": "/proc/nonexistent", "USER": "", "LOGNAME": "", **DEAD_PROXY}


def test_moved_checkout_without_git_is_up_to_date_for_nameless_user(moved_checkout):
    project, run_nameless, environment = moved_checkout
    output = project.run(*run_nameless, "make", "run", **environment).stdout
    assert ran(output) == []
    assert "Traceback" not in output
    assert "balanced accuracy" in output


def test_version_in_moved_checkout_is_promoted_and_predicts(moved_checkout):
    project, run_nameless, environment = moved_checkout
    version = report(project, "registration")["version"]
    lesionflow = (*run_nameless, "python", "-m", "app.cli")
    project.run(*lesionflow, "champion", "promote", version, "--override", "a trial", **environment)
    history = project.run(*lesionflow, "champion", "history", "--format", "json", **environment).stdout
    assert json.loads(history[history.index("[\n") :])[-1]["who"] == "user id 54321"
    image = next((project.root / "data/melanoma").iterdir())
    output = project.run(*lesionflow, "predict", "--format", "json", str(image), check=False, **environment).stdout
    assert json.loads(output[output.index("[\n") :])[0]["version"] == version


def test_reports_exist_and_metrics_have_intervals(project):
    evaluation = report(project, "evaluation")
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "critical_sensitivity", "calibration_error"):
        estimate = evaluation["test"][name]
        assert 0 <= estimate["low"] <= estimate["value"] <= estimate["high"] <= 1, name
    assert set(evaluation["per_class"]) == set(CLASSES)
    assert {"precision", "recall", "f1", "specificity"} <= set(evaluation["per_class"]["melanoma"])
    assert set(evaluation["shifts"]) == set(SHIFTS)
    for row in evaluation["shifts"].values():
        assert row["drop"]["value"] == pytest.approx(evaluation["one_view_balanced_accuracy"] - row["balanced_accuracy"])
    assert set(evaluation["collections_left_out"]) == set(COLLECTIONS)
    for row in evaluation["collections_left_out"].values():
        assert row["images"] > 1 < len(row["classes"])
    assert len(pd.read_csv(project.root / "reports/evaluation/shifts.csv")) == len(SHIFTS) + len(COLLECTIONS)
    for name in (
        "confusion.png",
        "roc.png",
        "reliability.png",
        "mistakes.png",
        "shifts.png",
        "shifts_examples.png",
        "subgroups.png",
        "clinic.png",
    ):
        assert (project.root / "reports/evaluation" / name).stat().st_size > 5000
    assert (project.root / "reports/validation/index.html").exists()
    assert (project.root / "reports/augment/views.png").exists()
    assert report(project, "export")["float16"]["same_top1"] >= 0.9
    clinic = report(project, "clinic")
    assert set(clinic["operating_points"]) == {"triage", "balanced", "rule_in"}
    assert clinic["operating_points"]["balanced"]["sensitivity"] == evaluation["test"]["malignant_sensitivity"]
    assert clinic["rewards"]["table"] == "barata2023"


def test_image_names_are_kept_from_dataset_to_predictions(project):
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    features = [pd.read_parquet(project.root / f"build/features/{side}.parquet") for side in ("train", "validation")]
    predictions = pd.read_parquet(project.root / "build/candidate/test_predictions.parquet")
    used = {path for table in (*features, predictions) for path in table["path"]}
    assert used == set(splits["path"])
    assert {Path(path).name for path in used} > set(WILD)


def test_lesions_and_groups_are_in_one_split(project):
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    assert splits.groupby("lesion_id")["side"].nunique().max() == 1
    assert splits.groupby("group")["side"].nunique().max() == 1


def test_only_training_images_are_augmented(project):
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    for side in ("validation", "test"):
        index = json.loads((project.root / f"build/shards/{side}/index.json").read_text())
        assert index["per_number"] == [(splits["side"] == side).sum()]


def test_dvc_metrics_and_plots_commands_succeed(project):
    assert "balanced_accuracy" in project.run("dvc", "metrics", "show").stdout
    project.run("dvc", "metrics", "diff")
    project.run("dvc", "plots", "show", "-o", "plots")
    assert (project.root / "plots/index.html").exists()


def test_editing_unused_code_reruns_no_stage(project):
    for name in ("synthetic/pretrain", "runtime/params", "runtime/stage", "tracking/runs", "tracking/store"):
        path = project.root / "components" / f"{name}.py"
        path.write_text(path.read_text(encoding="utf-8") + "\n# another comment\n", encoding="utf-8")
    assert ran(project.repro()) == []


@pytest.mark.parametrize("stage", ["augment", "train", "finetune"])
def test_stage_is_reproducible_bit_for_bit(project, stage):
    before = project.output_hashes(stage)
    project.repro("--force", "--single-item", "--no-run-cache", stage)
    assert project.output_hashes(stage) == before


def test_registering_same_candidate_twice_creates_one_version(project):
    first = report(project, "registration")["version"]
    project.repro("--force", "--single-item", "register")
    second = report(project, "registration")
    assert second["version"] == first
    assert second["new_version"] is False


def test_version_has_provenance_tags_and_run_has_curves(project):
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
    assert {"card", "evaluation", "export", "reports", "data_docs"} <= artifacts
    assert run.info.run_name.startswith(run.data.tags["phase"])
    phase = client.get_run(run.data.tags["phase_run"])
    assert (phase.data.tags["phase"], "val_loss" in phase.data.metrics) == (run.data.tags["phase"], True)
    assert phase.info.run_id != version.run_id
    assert not client.list_artifacts(phase.info.run_id), (
        "artifacts of one candidate are not in the run of its phase, which candidates share"
    )
    logged_model = urlsplit(client.get_model_version_download_uri(version.name, version.version)).path
    evidence = Path(unquote(logged_model), "artifacts/evidence")
    assert folder_sha256(evidence) == version.tags["evidence.sha256"]
    splits = pd.read_parquet(project.root / "build/splits.parquet")
    assert len(pd.read_parquet(evidence / "split.parquet")) == len(splits)
    estimate = report(project, "evaluation")["test"]["balanced_accuracy"]
    logged = [run.data.metrics[f"{section}/balanced_accuracy"] for section in ("test", "test_low", "test_high")]
    assert logged == pytest.approx([estimate["value"], estimate["low"], estimate["high"]])
    blurred = report(project, "evaluation")["shifts"]["blur"]
    assert run.data.metrics["shift/blur"] == pytest.approx(blurred["balanced_accuracy"])
    assert run.data.metrics["shift_loss/blur"] == pytest.approx(blurred["drop"]["value"])
    assert f"Gate: **{version.tags['gate']}**" in version.description
    assert f"| balanced accuracy | {estimate['value']:.4f} | {estimate['low']:.4f} to {estimate['high']:.4f} |" in version.description


def test_promoted_version_serves_and_reproduces_its_metrics(project):
    version = report(project, "registration")["version"]
    assert project.lesionflow("champion", "promote", version, "--override", "the test needs a champion").exit_code == 0
    again = project.lesionflow("champion", "promote", version)
    assert again.stdout.strip().endswith("is already the champion; nothing was changed"), again.output
    shown = project.lesionflow("champion", "show", "--format", "json")
    assert json.loads(shown.stdout)["champion"]["version"] == version, shown.output
    image = str(next((project.root / "data/nevus").iterdir()))
    predicted = project.lesionflow("predict", "--format", "json", image)
    assert json.loads(predicted.stdout)[0]["version"] == version, predicted.output
    verified = project.lesionflow("champion", "verify", "--format", "json")
    assert verified.exit_code == 0, verified.output
    verification = json.loads(verified.stdout)
    assert (verification["moved"], verification["unsupported"], verification["changed_diagnoses"]) == ([], [], 0)
    assert verification["images"] == report(project, "evaluation")["test"]["images"]
    assert verification["largest_change"] < 1e-4


def test_register_command_of_message_fills_empty_store(project, tmp_path):
    copy = project.copy(tmp_path / "copy")  # without the MLflow store
    assert ran(copy.repro()) == []
    image = str(next((copy.root / "data/nevus").iterdir()))
    assert "`dvc repro --force --single-item register` registers it here" in copy.lesionflow("predict", image).output
    copy.repro("--force", "--single-item", "register")
    shown = json.loads(copy.lesionflow("champion", "show", "--format", "json").stdout)
    assert shown["challenger"]["version"] == report(copy, "registration")["version"] == "1"


def test_predict_command_reproduces_test_predictions(project):
    measured = pd.read_parquet(project.root / "build/candidate/test_predictions.parquet").head(3)
    paths = [f"data/{path}" for path in measured["path"]]
    version = report(project, "registration")["version"]
    result = project.lesionflow("predict", "--format", "json", "--model-version", version, *paths)
    rows = json.loads(result.stdout)
    assert result.exit_code == (3 if any(row["abstained"] for row in rows) else 0)
    for row, (_, expected) in zip(rows, measured.iterrows(), strict=True):
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        for name in CLASSES:
            assert row["probabilities"][name] == pytest.approx(expected[f"p_{name}"], abs=1e-4)


def test_candidate_records_resolution_of_training_images(project):
    card = json.loads((project.root / "build/candidate/candidate.json").read_text(encoding="utf-8"))
    assert (card["resolution"], card["image_size"]) == (48, 96)


def test_predict_reports_unreadable_images_and_predicts_others(project):
    good = Path("data/nevus") / sorted(path.name for path in (project.root / "data/nevus").iterdir())[0]
    (project.root / "text.jpg").write_text("not an image")
    version = report(project, "registration")["version"]
    paths = (str(good), "data/melanoma/[x].jpg", "text.jpg", "gone.jpg")
    result = project.lesionflow("predict", "--model-version", version, *paths)
    assert result.exit_code == 1
    assert "text.jpg: not a JPEG or PNG image" in result.output
    assert "gone.jpg: no such file" in result.output
    assert good.name in result.output
    assert "data/melanoma/[x].jpg" in result.output


def test_flow_shows_error_message_of_failed_stage(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    (copy.root / "data/nevus/bad.jpg").write_text("not an image")
    result = copy.run("python", "-m", "flows.training", check=False)
    assert result.returncode == 1
    assert "error: validate failed:" in result.stdout
    assert "nevus/bad.jpg: not a JPEG or PNG image" in result.stdout


def test_changed_dropout_reruns_train_and_later_stages_only(project):
    dropout = yaml.safe_load((project.root / "params.yaml").read_text(encoding="utf-8"))["train"]["dropout"]
    project.set_params({"train": {"dropout": 0.5}})
    assert ran(project.repro("train")) == ["train"]
    stale_stages = ran(project.repro("--dry"))
    assert stale_stages[:2] == ["finetune", "evaluate"], (
        "the readers of the new model are stale; later stages are known once these have run"
    )
    project.set_params({"train": {"dropout": dropout}})
    assert ran(project.repro()) == [], "outputs of former params come from the DVC cache"


def test_images_stay_in_their_split_until_it_is_redealt(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    assignments = copy.root / "splits/assignments.csv"
    before = assignments.read_bytes()
    copy.set_params({"seed": 1})
    assert ran(copy.repro("--single-item", "split")) == ["split"]
    assert assignments.read_bytes() == before
    copy.set_params({"split": {"redeal": True}})
    copy.repro("--single-item", "split")
    redealt = pd.read_csv(assignments, index_col="pixels_sha256")["split"]
    former = pd.read_csv(io.BytesIO(before), index_col="pixels_sha256")["split"]
    assert (former[redealt.index] != redealt).any()
    copy.set_params({"seed": 0, "split": {"redeal": False}})
    assert ran(copy.repro("--single-item", "split")) == ["split"], "DVC's run cache does not restore the split of the first run"
    assert pd.read_csv(assignments, index_col="pixels_sha256")["split"].equals(redealt)


def test_misspelled_param_is_reported_by_name(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    text = (copy.root / "params.yaml").read_text(encoding="utf-8")
    (copy.root / "params.yaml").write_text(text.replace("dropout:", "droput:"), encoding="utf-8")
    output = copy.repro(check=False)
    assert "train.droput: unknown key; did you mean 'dropout'?" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: [path.unlink() for path in sorted((data / "melanoma").iterdir())[1:]], "melanoma: 1 usable images"),
        (lambda data: [path.unlink() for path in (data / "melanoma").iterdir()], "the file does not exist"),
        (lambda data: (data / "nevus/empty.jpg").touch(), "nevus/empty.jpg: empty file"),
        (
            lambda data: (data / "metadata.csv").open("a").write("X,nevus/gone.jpg,nevus,L,c,l\n"),
            "1 missing_file (listed in metadata.csv, but the file does not exist)",
        ),
    ],
    ids=["small class", "emptied class", "empty file", "metadata"],
)
def test_validate_fails_with_message_on_bad_data(project, tmp_path, capsys, damage, message):
    copy = project.copy(tmp_path / "copy")
    damage(copy.root / "data")
    with chdir(copy.root), pytest.raises(LesionflowError) as error:
        validate.validate(load())
    assert message in f"{error.value}\n{capsys.readouterr().out}"


def test_validate_without_data_exits_with_message(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    shutil.rmtree(copy.root / "data")
    result = copy.stage("validate")
    assert result.returncode == 1
    assert "error: data/ does not exist" in result.stdout
    assert "Traceback" not in result.stdout


def test_train_stops_before_training_when_tracking_server_is_down(project):
    result = project.stage("train", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert result.returncode == 75
    assert "MLflow's store http://127.0.0.1:9 does not respond" in result.stdout
    assert "Epoch" not in result.stdout
    assert "Traceback" not in result.stdout


def test_register_reports_locked_database(project):
    connection = sqlite3.connect(project.root / "mlruns/mlflow.db")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        result = project.stage("register")
    finally:
        connection.rollback()
        connection.close()
    assert result.returncode == 75
    assert "locked" in result.stdout
    assert "Traceback" not in result.stdout
    assert project.stage("register").returncode == 0


def test_augment_on_full_disk_fails_with_message_and_leaves_no_shards(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    before = sorted(path.name for path in (copy.root / "build").iterdir())
    result = copy.run("bash", "-c", "ulimit -f 300; trap '' XFSZ; python -m components.augment", check=False)
    assert result.returncode == 1
    assert "cannot be written" in result.stdout
    assert "Free some space" in result.stdout
    assert "Traceback" not in result.stdout
    assert sorted(path.name for path in (copy.root / "build").iterdir()) == before


def has_no_metadata(path: Path) -> bool:
    """Whether an import keeps every byte of an image."""
    content = path.read_bytes()
    return without_metadata(content) == content


def test_import_replaces_dataset_and_git_restores_previous_one(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    copy.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--allow-empty", "-qam", "data")
    before = (copy.root / "data.dvc").read_text()
    source = tmp_path / "source"
    for name in ("Train/Nevus", "Test/nevus", "Train/Seborrheic Keratosis"):
        (source / name).mkdir(parents=True)
    images = [path for path in sorted((copy.root / "data/nevus").glob("*.jpg")) if has_no_metadata(path)]
    for folder, image in zip(("Train/Nevus", "Test/nevus", "Train/Seborrheic Keratosis"), images, strict=False):
        (source / folder / "a.jpg").write_bytes(image.read_bytes())
    result = copy.run("python", "-m", "app.cli", "import", str(source))
    assert result.stdout.splitlines()[-1] == "imported 3 files in 2 classes"
    assert sorted(path.name for path in (copy.root / "data/nevus").iterdir()) == ["Train_a.jpg", "a.jpg"]
    assert (copy.root / "data.dvc").read_text() != before
    second_import = copy.run("python", "-m", "app.cli", "import", str(source), check=False)
    assert second_import.returncode == 1
    assert "is not committed" in second_import.stdout
    differences = copy.run("python", "-m", "app.cli", "data", "diff", "HEAD").stdout
    assert "from HEAD to data/: 1 added" in differences  # dataset.yaml
    assert "1 relabeled, 1 changed, 2 renamed" in differences  # all three images were nevi before; the changed file is metadata.csv
    assert "-> nevus/Train_a.jpg" in differences
    copy.run("git", "checkout", "data.dvc")
    copy.run("dvc", "checkout", "data.dvc")
    assert len(list(Path(copy.root / "data/nevus").iterdir())) > 3
