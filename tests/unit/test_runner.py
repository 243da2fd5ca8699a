import io

from flows import runner


def test_lines_end_at_newlines_and_at_a_progress_bars_carriage_returns():
    stream = io.BufferedReader(io.BytesIO(b"one\r 10 %\r 20 %\r\nlast"))
    assert list(runner._lines(stream)) == ["one", " 10 %", " 20 %", "last"]


def test_a_stages_own_words_come_before_dvcs():
    lines = ["noise", "error: data/ is not there", "ERROR: failed to reproduce 'validate'"]
    assert runner._last_words("validate", lines) == "validate failed:\ndata/ is not there"
    assert runner._last_words("validate", lines[::2]).endswith("ERROR: failed to reproduce 'validate'")
