"""dvc.yaml declares exactly the code that a stage's module imports, however indirectly."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

from flows.runner import STAGES
from tests.conftest import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
DECIDES_NOTHING = {"__init__", "settings", "stage", "errors", "tracking"}
BY_PATH = {"register": {"serving"}}  # MLflow is given the file's path


@cache
def imports(module: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "components" / f"{module}.py").read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "components":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("components."):
            names.add(str(node.module).split(".")[1])
    return frozenset(names)


def closure(stage: str) -> set[str]:
    found: set[str] = set()
    todo = {stage, *BY_PATH.get(stage, ())}
    while todo:
        module = todo.pop()
        found.add(module)
        todo |= imports(module) - found - DECIDES_NOTHING
    return found


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_depends_on_the_code_it_runs_and_on_no_other(stage):
    declared = {Path(dep).stem for dep in PIPELINE[stage]["deps"] if dep.startswith("components/")}
    assert declared == closure(stage)


@pytest.mark.parametrize("stage", PIPELINE)
def test_no_stage_imports_another(stage):
    assert not (imports(stage) & set(PIPELINE)) - {stage}


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_names_params_that_exist(stage):
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    known = set(params) | {f"{section}.{key}" for section, knobs in params.items() if isinstance(knobs, dict) for key in knobs}
    assert set(PIPELINE[stage]["params"]) <= known


def test_the_flow_runs_the_pipelines_stages_each_after_what_it_reads():
    assert list(PIPELINE) == list(STAGES)
    made: set[str] = set()
    for stage in STAGES:
        outputs = [*PIPELINE[stage].get("outs", []), *PIPELINE[stage].get("metrics", [])]
        wanted = {dep for dep in PIPELINE[stage]["deps"] if dep.startswith(("build/", "reports/"))}
        assert wanted <= made, stage
        made |= {next(iter(out)) if isinstance(out, dict) else out for out in outputs}
