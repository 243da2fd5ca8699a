from benchmarks import predict_folder
from benchmarks.predict_folder import Command

ROUND = {
    "command_per_second": 90.0,
    "predictor_per_second": 100.0,
    "first_answer_seconds": 4.0,
    "peak_mb": 210.0,
    "peak_mb_of_a_quarter": 200.0,
}


def test_report_holds_figures_to_targets():
    text = predict_folder.report({"machine": "here", "images": 2000, "rounds": [ROUND, ROUND]})
    verdicts = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in text.splitlines() if line.count("|") == 5}
    assert verdicts["command by predictor"] == "met"
    assert verdicts["peak MB by that of a quarter of the images"] == "met"
    assert verdicts["seconds to the first answer"] == "MISSED"


def test_rate_leaves_out_start_and_first_answer():
    assert Command(images=101, first=3.0, seconds=5.0, peak_mb=1.0).rate == 50


def test_copies_are_files_of_their_own_in_any_number(tmp_path):
    source = tmp_path / "a.jpg"
    source.write_bytes(b"image")
    folder = predict_folder.copies([source], 3, tmp_path / "many")
    assert [path.name for path in sorted(folder.iterdir())] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert len({path.stat().st_ino for path in folder.iterdir()}) == 3
