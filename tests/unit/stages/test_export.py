import numpy as np
import pytest

from components import export
from components.core.paths import CANDIDATE, EXPORT_REPORT, EXPORTED, MODEL_FILENAME
from components.core.reports.export import ExportReport
from components.exporting.agreement import reason_not_to_write
from components.exporting.tflite import PRECISIONS, file_name
from components.imaging.tfrecords import ShardWriter, View, as_png
from components.modeling import serialization
from tests.support import documents, models
from tests.support.images import noise
from tests.support.labels import CLASSES

SIZE = 32
FILES = {precision: EXPORTED / file_name(precision) for precision in PRECISIONS}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a small candidate and shards of test images, and the int8 file of an earlier run."""
    monkeypatch.chdir(tmp_path)
    models.write_shards(tmp_path / "build/shards", SIZE)
    with ShardWriter(tmp_path / "build/shards/test", CLASSES, 18, SIZE, seed=0) as writer:
        for number in range(18):
            writer.write(View(as_png(np.asarray(noise(100 + number, SIZE))), CLASSES[number % 9], f"t{number}.jpg", 0))
    CANDIDATE.mkdir(parents=True)
    serialization.save_classifier(models.depthwise_classifier(SIZE), CANDIDATE / MODEL_FILENAME)
    EXPORTED.mkdir()
    FILES["int8"].write_bytes(b"of an earlier run")


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_export_writes_only_files_that_agree_with_keras(settings, monkeypatch, capsys):
    convert, contents = export.convert_to_tflite, {}

    def with_wrong_int8(classifier, precision, batches):
        bias, before = classifier.get_layer("head").get_layer("logits").bias, None
        if precision == "int8":  # the file of another classifier
            before = bias.numpy()
            bias.assign(np.eye(9)[0] * 100)
        contents[precision] = convert(classifier, "float32" if precision == "int8" else precision, batches)
        if before is not None:
            bias.assign(before)
        return contents[precision]

    monkeypatch.setattr(export, "convert_to_tflite", with_wrong_int8)
    export.export(settings)
    report = ExportReport.read(EXPORT_REPORT)
    written = {precision: row.written for precision, row in report.precisions.items()}
    assert written == {"float32": True, "float16": True, "int8": False, "server": True}
    assert {path.name for path in EXPORTED.iterdir()} == {"model_float32.tflite", "model_float16.tflite", "server.tflite"}
    assert FILES["float32"].read_bytes() == contents["float32"]
    assert report.int8.reason is not None
    assert "below 0.950 (export.min_int8_agreement)" in report.int8.reason
    assert f"warning: {report.int8.reason}" in capsys.readouterr().out
    assert max(row.largest_probability_difference for row in (report.float32, report.server)) <= 1e-4


@pytest.mark.parametrize(
    ("precision", "same_top1", "reason"),
    [
        ("int8", 0.949, "export.min_int8_agreement"),
        ("int8", 0.95, None),
        ("float16", 0.984, "export.min_float16_agreement"),
        ("float16", 1.0, None),
    ],
)
def test_files_that_disagree_too_often_are_not_written(settings, precision, same_top1, reason):
    said = reason_not_to_write(precision, documents.exported_model(precision, same_top1), settings.export)
    assert said is None if reason is None else reason in said


@pytest.mark.parametrize("precision", ["float32", "server"])
@pytest.mark.parametrize(("difference", "written"), [(1e-4, True), (1.1e-4, False)])
def test_file_in_float32_must_give_the_probabilities_of_keras(settings, precision, difference, written):
    measured = documents.exported_model(precision, 1.0).model_copy(update={"largest_probability_difference": difference})
    assert (reason_not_to_write(precision, measured, settings.export) is None) is written
