import json
import re

import pytest

from benchmarks import bench, computing, pipeline, rates, scaling, sharpness
from benchmarks.harness import machine, manifest, profiling, summary, tables, timing
from components.runtime.params_file import load
from flows.stages import STAGES
from tests.support.project import ROOT

ESTIMATE = {"value": 0.6, "low": 0.5, "high": 0.7}
STAGE_COST = {"seconds": 10.0, "peak_mb": 900.0, "dvc": 1.0, "start": 4.0, "imports": 0.0, "mlflow": 0.5, "work": 5.0}


def row(seed: int, gain: float = 0.12, **changed) -> dict:
    return {
        "seed": seed,
        "machine": "a machine",
        "images": 100,
        "views": {"train": 400, "validation": 20, "embedded": 400},
        "epochs": 4,
        "import": {"seconds": 10.0, "peak_mb": 100.0},
        "stages": dict.fromkeys(STAGES, STAGE_COST),
        "build_bytes": 100 * 2**20,
        "picked": "finetuned",
        "test": {"images": 20, "groups": 15, "balanced_accuracy": {**ESTIMATE, "value": 0.6 + seed / 100}},
        "frozen": {"balanced_accuracy": ESTIMATE},
        "finetuned_less_frozen": ESTIMATE,
        "shifts": {"zoom_0.7": ESTIMATE, "square_crop": ESTIMATE},
        "notebook": {
            "training_seconds": 200,
            "figures": {"balanced_accuracy": {"notebook": {**ESTIMATE, "value": 0.4}, "gain": {**ESTIMATE, "value": gain}}},
        },
        **changed,
    }


def benchmark_request(**changed) -> manifest.BenchmarkRequest:
    return manifest.BenchmarkRequest(**{"dataset": "isic9.zip, 1 files", "overrides": ("seed=1",), "notebook_epochs": 24, **changed})


def table_cells(text: str, name: str) -> list[str]:
    """The cells of the only row of a Markdown table that starts with this name."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_aligns_columns():
    lines = tables.table(["stage", "s"], [["embed", "1.25"], ["a", "10"]]).splitlines()
    assert lines == ["| stage   |    s |", "|:--------|-----:|", "| embed   | 1.25 |", "| a       |   10 |"]


def test_target_verdict_for_floor_and_ceiling():
    assert [tables.Target(0.9).verdict(value) for value in (0.9, 0.89)] == ["met", "MISSED"]
    assert [tables.Target(60, most=True).verdict(value) for value in (60, 60.1)] == ["met", "MISSED"]


def test_mean_with_interval_uses_student_t_for_three_seeds_or_more():
    assert tables.mean_with_interval([0.6, 0.7, 0.8]) == "0.700 [0.452, 0.948]"  # t = 4.303 with two degrees of freedom
    assert [tables.mean_with_interval(values) for values in ([0.6], [0.64, 0.64])] == ["0.600", "0.640"]


def test_interleaved_rounds_alternate_order_and_drop_first_round():
    order: list[str] = []
    values = timing.interleaved_rounds({name: lambda name=name: order.append(name) or float(len(order)) for name in "ab"}, 2)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert values == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


def test_exceeds_noise_requires_gain_in_every_round():
    default = [100.0, 102.0]
    assert computing.exceeds_noise({computing.DEFAULT: default, "x": [110.0, 109.0]}, "x")
    assert not computing.exceeds_noise({computing.DEFAULT: default, "x": [110.0, 103.0]}, "x")
    assert not computing.exceeds_noise({computing.DEFAULT: default[:1], "x": [200.0]}, "x")


def test_kind_of_returns_operation_of_trace_event():
    assert profiling.kind_of("functional/conv1/convolution:Conv2D#id=3#") == "Conv2D"
    assert profiling.kind_of("ThreadpoolListener::Record") is None
    assert profiling.kind_of("FunctionRun") is None


def test_took_pattern_parses_stage_durations():
    lines = ("took 9.5 s", "took 6.4 s, including 3.0 s for imports", "took 9.5 s, including 4.2 s for MLflow")
    assert [pipeline.TOOK.search(line).groups() for line in lines] == [
        ("9.5", None, None),
        ("6.4", "3.0", None),
        ("9.5", None, "4.2"),
    ]


def test_headline_table_compares_means_over_seeds_with_targets():
    text = summary.headline_table([row(0), row(1, gain=0.02), row(2, gain=0.1)], summary.TARGETS)
    assert table_cells(text, "frozen phase: seconds over")[1:] == ["0.500 [0.500, 0.500]", "<= 0.5", "met"]
    assert table_cells(text, "with fine-tuning: balanced")[2:] == [">= 0.1", "MISSED"]
    assert table_cells(text, "frozen phase: balanced")[2:] == [">= 0", "met"]
    assert table_cells(text, "seconds outside computing")[1:] == ["60 [60, 60]", "<= 60", "met"]


def test_report_has_the_stages_that_every_row_has():
    older = row(1)
    older["stages"] = {name: cost for name, cost in older["stages"].items() if name != "index"}
    text = summary.report([row(0), older], "isic9")
    assert table_cells(text, "seconds outside computing")[1:] == ["54", "<= 60", "met"]
    assert not re.search(r"^\| index ", text, re.MULTILINE)
    assert re.search(r"^\| index ", summary.report([row(0)], "isic9"), re.MULTILINE)


def test_report_lists_recall_per_class_when_rows_have_it():
    row_with_classes = row(
        1, per_class={"melanoma": {"images": 304, "recall": 203 / 304}, "squamous_cell_carcinoma": {"images": 39, "recall": 6 / 39}}
    )
    text = summary.report([row(0), row_with_classes], "isic_full")
    assert table_cells(text, "squamous cell carcinoma")[1:] == ["6 of 39 (0.15)"]
    assert table_cells(text, "found on test, of each class")[1:] == ["seed 1"]
    assert "of each class" not in summary.report([row(0)], "isic_full")


def test_overhead_seconds_of_register_and_of_computing_stage():
    assert summary.overhead_seconds("register", STAGE_COST) == 10.0
    assert summary.overhead_seconds("embed", STAGE_COST) == 5.5


def test_over_epochs_weights_image_sizes_by_their_epochs(settings):
    epochs = rates.epochs(settings.model_copy(update={"backbone": "imagenet"}))
    assert epochs == {224: 2, 128: 3}
    images_per_second = {
        f"{rates.FITTED}, 224 px": 50,
        f"{rates.BARE}, 224 px": 50,
        f"{rates.FITTED}, 128 px": 100,
        f"{rates.BARE}, 128 px": 200,
    }
    assert rates.over_epochs(images_per_second, epochs) == pytest.approx((2 / 50 + 3 / 200) / (2 / 50 + 3 / 100))


def test_report_without_notebook_says_so():
    text = summary.report([row(0, notebook=None)], "isic9")
    assert "The notebook was left out." in text
    assert "seconds over the notebook's" not in text


def test_scaling_report_marks_superlinear_costs_as_missed():
    larger = row(
        0,
        images=1000,
        views={"train": 2000, "validation": 200, "embedded": 1000},
        stages={stage: {**STAGE_COST, "seconds": 105.0} for stage in STAGES},
    )
    text = scaling.report([row(0)], [larger])
    assert table_cells(text, "validate, per image")[1:] == ["100.00", "105.00", "1.05", "met"]
    assert table_cells(text, "augment, per view")[1:] == ["25.00", "52.50", "2.10", "MISSED"]
    assert table_cells(text, "embed, per view")[1:] == ["25.00", "105.00", "4.20", "MISSED"]
    assert table_cells(text, "finetune, per view and epoch")[1:] == ["6.25", "13.12", "2.10", "MISSED"]


def test_results_folder_of_other_request_is_refused_with_advice(tmp_path):
    folder = manifest.claim_results_folder(benchmark_request(), "isic9", tmp_path)
    assert manifest.claim_results_folder(benchmark_request(), "isic9", tmp_path) == folder
    others = {
        "dataset": "another.zip, 1 files",
        "overrides": (),
        "quick": True,
        "machine": "another",
        "params": {"embed": {"max_views_per_image": 4}},
    }
    for other in (benchmark_request(**{name: value}) for name, value in others.items()):
        with pytest.raises(SystemExit, match="another --name, or delete the folder"):
            manifest.claim_results_folder(other, "isic9", tmp_path)


def test_request_document_contains_no_paths():
    document = benchmark_request(overrides=("seed=1", "backbones.imagenet.weights=/home/me/w.h5"), source=ROOT).document()
    assert document["overrides"] == ["seed=1", "backbones.imagenet.weights=w.h5"]
    assert str(ROOT) not in json.dumps(document)


def test_request_records_params_and_differences_names_changed_ones(tmp_path):
    weights = ["backbone=imagenet", "backbones.imagenet.weights=/home/me/w.h5"]
    six, four = (manifest.BenchmarkRequest.of(tmp_path, [*weights, f"embed.max_views_per_image={views}"], 0) for views in (6, 4))
    assert "/home/me" not in json.dumps(six.document())
    assert manifest.differences(six.document(), four.document())[1:] == ["params.embed.max_views_per_image: 6, not 4"]
    with pytest.raises(SystemExit, match=r"^error: params\.yaml with the overrides: embed\.max_views_per_image: 0 is not allowed"):
        manifest.BenchmarkRequest.of(tmp_path, ["embed.max_views_per_image=0"], 0)


def test_each_seed_splits_all_images_again_whatever_the_request_says(tmp_path):
    request = manifest.BenchmarkRequest.of(tmp_path, ["split.redeal=false"], 0)
    assert "redeal" not in request.params["split"], "results of before, without this param, are of the same request"
    pipeline.set_params(tmp_path, 2, request)
    params = load(tmp_path / "params.yaml")
    assert (params.seed, params.split.redeal) == (2, True)


def test_with_new_names_reads_former_metric_names():
    estimate = {"value": 0.6, "low": 0.5, "high": 0.7}
    old = row(1, test={"images": 20, "melanoma_sensitivity": estimate})
    [new] = summary.with_new_names([old])
    assert new["test"] == {"images": 20, "critical_sensitivity": estimate}
    assert table_cells(summary.metrics_table([new]), "melanoma sensitivity")


def test_differences_ignores_former_param_names():
    old = {"overrides": ["+validate.policy.tiny.then=warn"], "params": {"validate": {"policy": {"tiny": {"then": "warn", "at_most": 0}}}}}
    new = {
        "overrides": ["+validate.policy.too_small.action=warn"],
        "params": {"validate": {"policy": {"too_small": {"action": "warn", "max_files": 0}}}},
    }
    assert manifest.differences(old, new) == []


def test_request_identifies_dataset_by_name_file_count_and_size(tmp_path):
    (tmp_path / "lesions").mkdir()
    (tmp_path / "lesions" / "a.jpg").write_bytes(b"12345")
    request = manifest.BenchmarkRequest.of(tmp_path / "lesions", [], 0)
    assert (request.name, request.dataset) == ("lesions", "lesions, 1 files, 5 bytes")
    with pytest.raises(SystemExit, match="does not exist"):
        manifest.BenchmarkRequest.of(tmp_path / "none.zip", [], 0)


def test_todo_skips_parts_with_results(tmp_path, capsys):
    for part in ("rates", "ablation"):
        machine.write(part, {}, tmp_path)
    machine.write("rates", {"machine": "a machine"}, tmp_path)
    assert bench.todo(("rates", "latency", "ablation"), tmp_path, quick=False) == ["latency", "ablation"]
    assert "rates is already measured" in capsys.readouterr().out


def test_unknown_flags_names_missing_flags():
    assert bench.unknown_flags("latency", ("--rounds", "3")) == ""
    assert bench.unknown_flags("latency", ("--epochs", "2")) == "has no --epochs"
    assert bench.unknown_flags("nothing", ()) == "does not exist"


def test_measure_missing_skips_seeds_with_rows(tmp_path, monkeypatch):
    machine.write(pipeline.NAME, {"rows": [row(0)]}, tmp_path)
    monkeypatch.setattr(pipeline, "prepare_copy", lambda _: (tmp_path, None))
    monkeypatch.setattr(pipeline, "measure", lambda _root, seed, _asked: {"machine": f"measured {seed}"})
    rows = pipeline.measure_missing(benchmark_request(), [0, 2], tmp_path)
    assert [result["machine"] for result in rows] == ["a machine", "measured 2"]
    assert machine.read(pipeline.NAME, tmp_path) == {"rows": rows}


def test_isolate_environment_removes_servers_of_the_site(monkeypatch):
    site_variables = dict.fromkeys(("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "LESIONFLOW_WEBHOOK"), "http://lab")
    monkeypatch.setattr(machine.os, "environ", {**site_variables, "PATH": "/bin"})
    machine.isolate_environment()
    assert machine.os.environ == {"PATH": "/bin"}


def sharpness_row(variant: str, seed: int, wrong: int, wrong_when_sharp: int) -> dict:
    truth = "012345678" * 4

    def encode_predictions(count: int) -> str:
        return "".join(str((int(digit) + 1) % 9) for digit in truth[:count]) + truth[count:]

    predicted = {
        name: encode_predictions(wrong_when_sharp if name in sharpness.SHARPENED else wrong)
        for name in (sharpness.AS_IT_IS, *sharpness.SHIFTS)
    }
    split_result = {"truth": truth, "groups": list(range(36)), "predicted": predicted}
    overrides = sharpness.variants("auto", 0.5)[variant]
    return {
        "variant": variant,
        "seed": seed,
        "overrides": overrides,
        "resolution": None,
        "sides": dict.fromkeys(sharpness.REPORTED, split_result),
    }


def test_sharpness_report_chooses_variant_with_best_worst_case():
    rows = [sharpness_row("none", 1, 4, 18), sharpness_row("both", 1, 8, 9), sharpness_row("both", 2, 8, 9)]
    text = sharpness.report(rows)
    assert text.endswith("under every sharpening: both.")
    none, both = (next(line for line in text.splitlines() if line.startswith(f"| {name}")).split("|") for name in ("none", "both"))
    assert (none[-3].strip(), both[-3].strip()) == ("<= 0.03", "<= 0.03")
    assert (none[-2].strip(), both[-2].strip()) == ("MISSED", "met")
    assert both[5].strip().startswith("-0.1")
    assert table_cells(text, "melanoma")[1:] == ["3 of 4 (0.75)", "6 of 8 (0.75)"]
    assert table_cells(text, "sharpened wide")[1:] == ["0.389", "0.028"]


def test_sharpness_matches_requires_same_seed_and_params():
    row = sharpness_row("sharpen", 1, 0, 0)
    assert sharpness.matches(row, 1, sharpness.variants("auto", 0.5)["sharpen"])
    assert not sharpness.matches(row, 2, sharpness.variants("auto", 0.5)["sharpen"])
    assert not sharpness.matches(row, 1, sharpness.variants("auto", 0.3)["sharpen"])
