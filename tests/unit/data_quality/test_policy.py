"""Every policy rule in params.yaml takes effect, for each kind of finding, each `action` and several values of `max_files`."""

import itertools
import time
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from components.data_quality import findings, policy, small_classes
from components.data_quality.decisions import Decisions
from components.data_quality.findings import KINDS, Finding
from components.data_quality.near_duplicates import Pairs
from components.runtime.validation_params import Policy
from tests.support.labels import ISIC9_DEFINITION, MALIGNANT

UNDECIDED = Decisions(frozenset(), frozenset(), {}, ())
LIMITS = (None, 0, 1, 2, 3, 500)
CLASS_FINDINGS = ("small_malignant_class", "small_benign_class")
FILES = ("nevus/a.jpg", "nevus/b.jpg")
CASES = [
    (kind, action, max_files)
    for kind, field in Policy.model_fields.items()
    for action, max_files in itertools.product(get_args(field.annotation.model_fields["action"].annotation), LIMITS)
]


def with_policy_rule(settings, kind: str, action: str, max_files: int | None) -> Policy:
    rule = getattr(settings.validation.policy, kind)
    return settings.validation.policy.model_copy(update={kind: type(rule)(action=action, max_files=max_files)})


def test_every_finding_kind_has_a_policy_rule():
    assert set(Policy.model_fields) == set(KINDS)


@pytest.mark.parametrize(("kind", "action", "max_files"), CASES)
def test_policy_rule_applies_action_and_max_files(settings, kind, action, max_files):
    policy_rules = with_policy_rule(settings, kind, action, max_files)
    if kind in CLASS_FINDINGS:
        class_names = sorted(MALIGNANT)[:2] if kind == "small_malignant_class" else ["nevus", "dermatofibroma"]
        all_findings = [Finding(kind, (name,), "few") for name in class_names]
        catalog = pd.DataFrame({"path": ["1.jpg", "2.jpg"], "diagnosis": class_names, "reason": "", "usable": True})
        used = small_classes.exclude_small_classes(catalog, all_findings, policy_rules)["usable"].tolist()
    else:
        all_findings = [Finding(kind, FILES, "wrong")]
        reasons = policy.apply_policy(all_findings, policy_rules, UNDECIDED, dict.fromkeys(FILES, "nevus"))
        used = [path not in reasons for path in FILES]
    limit = 0 if action == "fail" and max_files is None else max_files
    fails = limit is not None and limit < 2
    assert bool(policy.policy_violations(all_findings, policy_rules)) == fails
    if not fails:
        assert used == {"keep one": [True, False], "group": [True, True], "warn": [True, True]}.get(action, [False, False])
    if action == "fail" and max_files is None:
        assert f"validate.policy.{kind}" in policy.policy_violations(all_findings, policy_rules)[0]


def test_find_label_conflicts_scales_linearly():
    count = 20_000
    images = pd.DataFrame(
        {
            "path": [f"{'nevus' if number % 2 else 'melanoma'}/{number}.jpg" for number in range(2 * count)],
            "diagnosis": ["nevus" if number % 2 else "melanoma" for number in range(2 * count)],
            "sha256": [str(number // 2) for number in range(2 * count)],
            "pixels_sha256": [str(number // 2) for number in range(2 * count)],
        }
    )
    no_pairs = Pairs(np.empty((0, 2), dtype=np.int64), np.empty(0))
    start = time.process_time()
    assert len(findings.find_label_conflicts(images, no_pairs, None, ISIC9_DEFINITION)) == count
    assert time.process_time() - start < 10
