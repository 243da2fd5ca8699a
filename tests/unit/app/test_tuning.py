"""Values of a search taken over into params.yaml."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from app.tuning import diff, with_new_values
from components.core.errors import LesionflowError
from tests.support.project import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 0.99), st.floats(1e-6, 1), st.integers(1, 4096), st.lists(st.integers(1, 512), max_size=3))
def test_new_values_are_read_back_and_all_else_stays(dropout, rate, batch, units):
    values = {"train.dropout": dropout, "train.learning_rate": rate, "train.batch_size": batch, "train.hidden_units": units}

    changed = with_new_values(TEXT, values)

    expected = yaml.safe_load(TEXT)
    expected["train"] |= {key.removeprefix("train."): value for key, value in values.items()}
    assert yaml.safe_load(changed) == expected
    assert [line.partition("#")[2] for line in changed.splitlines()] == [line.partition("#")[2] for line in TEXT.splitlines()]


def test_diff_names_changed_lines_alone():
    old = next(line for line in TEXT.splitlines() if line.startswith("  dropout:"))

    lines = diff(TEXT, with_new_values(TEXT, {"train.dropout": 0.45}))

    assert [line for line in lines[2:] if line[0] in "+-"] == [f"-{old}", f"+{old.replace('0.3 ', '0.45')}"]


def test_key_of_the_same_name_in_another_section_stays():
    changed = yaml.safe_load(with_new_values(TEXT, {"train.batch_size": 7}))

    assert changed["train"]["batch_size"] == 7
    assert changed["finetune"]["batch_size"] == yaml.safe_load(TEXT)["finetune"]["batch_size"]


def test_value_over_several_lines_is_left_to_a_person():
    text = "train:\n  hidden_units:\n  - 64\n  - 32\n  dropout: 0.3\n"

    with pytest.raises(LesionflowError, match=r"train.hidden_units cannot be changed .* Edit it by hand"):
        with_new_values(text, {"train.hidden_units": [1]})
