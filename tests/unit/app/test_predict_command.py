"""`lesionflow predict` in a real process, with a version whose answers depend on the picture's brightness."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded
from tests.support.project import ROOT

pytestmark = pytest.mark.slow

DRIVER = """
import sys, time, types
import app.models
from app import cli
from app.models.prediction_rows import RowForm
from components.imaging import images
from components.serving import answers

CONTRACT = answers.Contract(outputs=("melanoma", "nevus"), malignant=("melanoma",), operating_points={"triage": 0.4},
    abstention_threshold=0.55, set_thresholds=(0.3, 0.3))

class Predictor:
    def predict(self, content):
        return self.predict_lesion([content])
    def predict_lesion(self, contents):
        time.sleep(SECONDS)
        dark = 1 - sum(float(images.load_pixels(content, 8).mean()) for content in contents) / 255 / len(contents)
        return answers.answer(CONTRACT, "melanoma" if dark > 0.5 else "nevus", {"melanoma": dark, "nevus": 1 - dark})

class Version:
    rows, threads, warnings = RowForm("lesions", VERSION, CONTRACT), 2, []
    def predictor(self):
        return Predictor()

loader = types.ModuleType("app.models.served_version")  # the real one imports MLflow
loader.load = lambda model, wanted: Version()
app.models.served_version = sys.modules[loader.__name__] = loader
cli.main()
"""
LIGHT, UNCERTAIN, DARK = 200, 130, 20


def picture(path: Path, level: int = LIGHT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((10, 12, 3), level, np.uint8)
    path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    return path


@pytest.fixture
def lab(tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def command(*arguments: object, version: str = "1", seconds: float = 0.0) -> list[str]:
    script = DRIVER.replace("SECONDS", str(seconds)).replace("VERSION", repr(version))
    return [sys.executable, "-c", script, "predict", *map(str, arguments)]


def predict(lab: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments, **options), cwd=lab, env=environment(), capture_output=True, text=True, check=False)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_two_hundred_files_with_special_ones_are_all_answered_or_explained(lab):
    files = [picture(lab / f"in/{number:03}.png") for number in range(200)]
    special = {
        7: "a named pipe, not a file",
        8: "a folder, not a file",
        9: "a link to a file that does not exist",
        10: "not a JPEG or PNG image",
    }
    for number in special:
        files[number].unlink()
    os.mkfifo(files[7])
    files[8].mkdir()
    files[9].symlink_to("gone")
    files[10].write_text("text")
    done = predict(lab, "--format", "jsonl", *files)
    assert done.returncode == 1, done.stderr
    rows = json_lines(done.stdout)
    assert [row["image"] for row in rows] == [str(path) for path in files]
    assert {number: row["error"] for number, row in enumerate(rows) if row["error"]} == special
    assert done.stderr.count("error: ") == len(special)
    walked = json_lines(predict(lab, "--format", "jsonl", lab / "in").stdout)
    assert [row["image"] for row in walked] == [str(path) for number, path in enumerate(files) if number != 8]


def test_interrupted_run_goes_on_where_it_stopped(lab):
    files = [picture(lab / f"in/{number:03}.png") for number in range(60)]
    output = lab / "answers.csv"
    process = subprocess.Popen(
        command("in", "--output", output, seconds=0.1),
        cwd=lab,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not (output.exists() and len(output.read_bytes().splitlines()) > 10):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, problems = process.communicate(timeout=60)
    kept = output.read_text().splitlines()
    assert (process.returncode, said) == (130, "")
    assert re.fullmatch(rf"\s*interrupted after {len(kept) - 1} images\. Run the same command again to go on\s*", problems)
    output.write_text("\n".join(kept) + '\n"in/05')
    done = predict(lab, "in", "--output", output)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept) - 1} files are answered already and are skipped" in done.stderr
    assert "an incomplete last row was removed" in done.stderr
    assert output.read_text().splitlines()[: len(kept)] == kept
    assert [line.split('"')[1] for line in output.read_text().splitlines()[1:]] == [str(path.relative_to(lab)) for path in files]
    refused = predict(lab, "in", "--output", output, version="2")
    assert refused.returncode == 1
    assert "has answers of lesions version 1, not of lesions version 2. Name another file" in refused.stderr


def test_interrupt_without_file_leaves_valid_json_and_names_the_option(lab):
    for number in range(60):
        picture(lab / f"in/{number:03}.png")
    process = subprocess.Popen(
        command("in", "--format", "json", seconds=0.1),
        cwd=lab,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    first = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    said, problems = process.stdout.read(), process.stderr.read()  # not communicate, which forgets what readline read ahead
    assert process.wait() == 130
    assert len(json.loads("".join(first) + said)) >= 1
    assert "Traceback" not in problems
    assert "With --output FILE, the same command goes on where it stopped" in problems


def test_exit_codes_tell_unread_before_abstained(lab):
    sure, unsure, output = picture(lab / "a.png"), picture(lab / "b.png", UNCERTAIN), lab / "answers.jsonl"
    assert predict(lab, sure).returncode == 0
    assert predict(lab, sure, unsure, "gone.png").returncode == 1
    assert [predict(lab, sure, unsure, "--output", output).returncode for _ in range(2)] == [3, 3]
    assert len(json_lines(output.read_text())) == 2


def test_every_format_has_a_row_for_what_cannot_be_read(lab):
    picture(lab / "in/a.png", DARK)
    (lab / "in/b.jpg").write_text("text")
    for form in ("table", "json", "csv"):
        done = predict(lab, "in", "--format", form)
        assert done.returncode == 1
        assert "in/b.jpg" in done.stdout and "not a JPEG or PNG image" in done.stdout, form
        assert form != "table" or [line for line in done.stdout.splitlines() if line.startswith("at or above triage  melanoma ")]


def test_nonsense_is_refused_with_the_way_out(lab):
    one, two = picture(lab / "a.png"), picture(lab / "b.png", DARK)
    (lab / "empty").mkdir()
    (lab / "c.png").write_bytes(one.read_bytes())
    for arguments, said in (
        (["--lesion", one], "--lesion needs two or more pictures"),
        (["--lesion", one, lab / "c.png"], "are the same picture"),
        (["--lesion", one, two, "--output", "a.csv"], "--lesion gives one answer"),
        ([one, "--output", "a.txt"], "Use --format jsonl or csv"),
        ([one, "--output", "none/a.csv"], "cannot be written: no such file or directory"),
        (["empty"], "no files in empty"),
    ):
        done = predict(lab, *arguments)
        assert done.returncode == 1, arguments
        assert done.stderr.startswith("error: ") and said in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_lesion_is_answered_from_the_pictures_that_can_be_read(lab):
    picture(lab / "a.png", DARK)
    picture(lab / "b.png", 60)
    (lab / "c.png").write_text("text")
    done = predict(lab, "--lesion", "--format", "json", "a.png", "b.png", "c.png")
    assert done.returncode == 1
    unread, answered = json.loads(done.stdout)
    assert (unread["image"], unread["error"]) == ("c.png", "not a JPEG or PNG image")
    assert (answered["image"], answered["diagnosis"]) == ("a.png, b.png", "melanoma")
    assert answered["probabilities"]["melanoma"] == pytest.approx(1 - 40 / 255, abs=0.01)
