"""dvc.yaml declares the code that a stage's module imports, however indirectly, and no code that it does not import."""

from functools import cache

import grimp
import pytest
import yaml

from flows.stages import STAGES
from tests.support.project import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
DECIDES_NOTHING = ("runtime", "tracking", "core.errors")
"""Modules and packages of components that decide nothing of what a stage writes; what only they import does not count either."""


@cache
def graph() -> grimp.ImportGraph:
    built = grimp.build_graph("components")
    for name in [name for name in built.modules if name.removeprefix("components.").startswith(DECIDES_NOTHING)]:
        built.remove_module(name)
    return built


def imported(stage: str) -> set[str]:
    """The modules that decide what a stage writes, as paths; packages are their modules."""
    own = f"components.{stage}"
    # MLflow is given this one by its file's path.
    roots = {own, "components.serving.pyfunc_model"} if stage == "register" else {own}
    found = roots.union(*(graph().find_upstream_modules(name) for name in roots))
    return {f"{name.replace('.', '/')}.py" for name in found if not graph().find_children(name)}


def code(stage: str) -> list[str]:
    return [dep for dep in PIPELINE[stage]["deps"] if dep.startswith("components/")]


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_module_that_a_stage_runs_is_among_its_deps(stage):
    assert not {path for path in imported(stage) if not any(covers(dep, path) for dep in code(stage))}


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_dep_of_a_stage_holds_a_module_that_it_runs(stage):
    assert not {dep for dep in code(stage) if not any(covers(dep, path) for path in imported(stage))}
    assert all((ROOT / dep).exists() for dep in code(stage))


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_that_renders_a_page_has_its_templates_among_its_deps(stage):
    if "components/data_quality/pages.py" in imported(stage):
        templates = [path.relative_to(ROOT).as_posix() for path in (ROOT / "components").rglob("*.jinja")]
        assert not {path for path in templates if not any(covers(dep, path) for dep in code(stage))}


@pytest.mark.parametrize("stage", ["augment", "embed", "finetune"])
def test_a_stage_that_takes_an_hour_names_no_package_that_it_does_not_need_whole(stage):
    whole = {dep for dep in code(stage) if (ROOT / dep).is_dir()}
    modules = {dep: {f"{dep}/{path.name}" for path in (ROOT / dep).glob("*.py")} - {f"{dep}/__init__.py"} for dep in whole}
    assert {dep: paths - imported(stage) for dep, paths in modules.items() if paths - imported(stage)} == {}


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
