"""What a rule of params.yaml says is what happens: every kind of finding, every `action`, every `max_files`."""

import itertools
import time
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from components import validate
from components.core.classes import MALIGNANT
from components.data_quality import findings, policy
from components.data_quality.decisions import Decisions
from components.data_quality.findings import KINDS, Finding
from components.data_quality.near_duplicates import Pairs
from components.runtime.params import Policy

UNDECIDED = Decisions(frozenset(), frozenset(), {}, ())
LIMITS = (None, 0, 1, 2, 3, 500)
ABOUT_CLASSES = ("small_malignant_class", "small_benign_class")
FILES = ("nevus/a.jpg", "nevus/b.jpg")
CASES = [
    (kind, action, max_files)
    for kind, field in Policy.model_fields.items()
    for action, max_files in itertools.product(get_args(field.annotation.model_fields["action"].annotation), LIMITS)
]


def with_rule(settings, kind: str, action: str, max_files: int | None) -> Policy:
    rule = getattr(settings.validation.policy, kind)
    return settings.validation.policy.model_copy(update={kind: type(rule)(action=action, max_files=max_files)})


def test_every_kind_of_finding_has_a_rule():
    assert set(Policy.model_fields) == set(KINDS)


@pytest.mark.parametrize(("kind", "action", "max_files"), CASES)
def test_a_rule_does_what_it_says(settings, kind, action, max_files):
    rules = with_rule(settings, kind, action, max_files)
    if kind in ABOUT_CLASSES:
        named = sorted(MALIGNANT)[:2] if kind == "small_malignant_class" else ["nevus", "dermatofibroma"]
        found = [Finding(kind, (name,), "few") for name in named]
        catalog = pd.DataFrame({"path": ["1.jpg", "2.jpg"], "diagnosis": named, "reason": "", "usable": True})
        used = validate.exclude_small_classes(catalog, found, rules, "multiclass")["usable"].tolist()
    else:
        found = [Finding(kind, FILES, "wrong")]
        reasons = policy.apply_policy(found, rules, UNDECIDED, dict.fromkeys(FILES, "nevus"))
        used = [path not in reasons for path in FILES]
    most = 0 if action == "fail" and max_files is None else max_files
    stops = most is not None and most < 2
    assert bool(policy.policy_violations(found, rules)) == stops
    if not stops:
        assert used == {"keep one": [True, False], "group": [True, True], "warn": [True, True]}.get(action, [False, False])
    if action == "fail" and max_files is None:
        assert f"validate.policy.{kind}" in policy.policy_violations(found, rules)[0]


def test_a_small_output_of_the_binary_task_is_left_out_whole(settings):
    catalog = pd.DataFrame({"path": ["1.jpg", "2.jpg"], "diagnosis": ["nevus", "melanoma"], "reason": "", "usable": True})
    rules = with_rule(settings, "small_benign_class", "quarantine", 1)
    left = validate.exclude_small_classes(catalog, [Finding("small_benign_class", ("benign",), "few")], rules, "binary")
    assert left["usable"].tolist() == [False, True]


def test_many_conflicts_take_time_in_proportion_to_their_number():
    count = 20_000
    images = pd.DataFrame(
        {
            "path": [f"{'nevus' if at % 2 else 'melanoma'}/{at}.jpg" for at in range(2 * count)],
            "diagnosis": ["nevus" if at % 2 else "melanoma" for at in range(2 * count)],
            "sha256": [str(at // 2) for at in range(2 * count)],
            "pixels_sha256": [str(at // 2) for at in range(2 * count)],
        }
    )
    none = Pairs(np.empty((0, 2), dtype=np.int64), np.empty(0))
    start = time.process_time()
    assert len(findings.find_label_conflicts(images, none, None)) == count
    assert time.process_time() - start < 10
