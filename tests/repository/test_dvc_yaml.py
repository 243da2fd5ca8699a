"""The code deps of each stage in dvc.yaml are exactly the modules that it imports, directly or indirectly."""

from functools import cache

import grimp
import pytest
import yaml

from flows.stages import STAGES
from tests.support.project import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
WITHOUT_EFFECT_ON_OUTPUTS = ("runtime", "tracking", "core.errors")
"""Modules and packages that do not affect the outputs of a stage; modules that only these import do not either."""


@cache
def graph() -> grimp.ImportGraph:
    import_graph = grimp.build_graph("components", cache_dir=None)  # a cache trusts times of files, which git may set back
    for name in [name for name in import_graph.modules if name.removeprefix("components.").startswith(WITHOUT_EFFECT_ON_OUTPUTS)]:
        import_graph.remove_module(name)
    return import_graph


def imported_modules(stage: str) -> set[str]:
    """Paths of the modules that affect the outputs of a stage."""
    stage_module = f"components.{stage}"
    # MLflow loads this module by its path.
    roots = {stage_module, "components.serving.pyfunc_model"} if stage == "register" else {stage_module}
    modules = roots.union(*(graph().find_upstream_modules(name) for name in roots))
    return {f"{name.replace('.', '/')}.py" for name in modules if not graph().find_children(name)}


def code_deps(stage: str) -> list[str]:
    return [dep for dep in PIPELINE[stage]["deps"] if dep.startswith("components/")]


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


def rendered_templates(stage: str) -> set[str]:
    """Paths of the templates that a stage renders: those named after its modules, and the layout of all pages."""
    modules = imported_modules(stage)
    layout = {"components/data_quality/page.html.jinja"} if "components/data_quality/pages.py" in modules else set()
    templates = [path.relative_to(ROOT).as_posix() for path in (ROOT / "components").rglob("*.jinja")]
    return layout | {path for path in templates if path.replace(".html.jinja", ".py") in modules}


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_include_all_modules_of_stage(stage):
    assert not {path for path in imported_modules(stage) if not any(covers(dep, path) for dep in code_deps(stage))}


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_contain_only_modules_of_stage(stage):
    used = imported_modules(stage) | rendered_templates(stage)
    assert not {dep for dep in code_deps(stage) if not any(covers(dep, path) for path in used)}
    assert all((ROOT / dep).exists() for dep in code_deps(stage))


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_include_templates_of_rendered_pages(stage):
    assert not {path for path in rendered_templates(stage) if not any(covers(dep, path) for dep in code_deps(stage))}


@pytest.mark.parametrize("stage", ["augment", "embed", "finetune"])
def test_slow_stages_depend_on_no_partly_used_package(stage):
    package_deps = {dep for dep in code_deps(stage) if (ROOT / dep).is_dir()}
    modules = {dep: {f"{dep}/{path.name}" for path in (ROOT / dep).glob("*.py")} - {f"{dep}/__init__.py"} for dep in package_deps}
    assert {dep: paths - imported_modules(stage) for dep, paths in modules.items() if paths - imported_modules(stage)} == {}


@pytest.mark.parametrize("stage", PIPELINE)
def test_params_of_stage_exist(stage):
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    known = set(params) | {
        f"{section}.{key}" for section, section_params in params.items() if isinstance(section_params, dict) for key in section_params
    }
    assert set(PIPELINE[stage]["params"]) <= known


def test_flow_runs_stages_in_dependency_order():
    assert list(PIPELINE) == list(STAGES)
    outputs_so_far: set[str] = set()
    for stage in STAGES:
        outputs = [*PIPELINE[stage].get("outs", []), *PIPELINE[stage].get("metrics", [])]
        inputs = {dep for dep in PIPELINE[stage]["deps"] if dep.startswith(("build/", "reports/"))}
        assert inputs <= outputs_so_far, stage
        outputs_so_far |= {next(iter(out)) if isinstance(out, dict) else out for out in outputs}
