"""The training flow: each stage of the pipeline as a Prefect task, with DVC doing the work.

Run it with `python -m flows.training`; no Prefect server needs to run.
"""

import argparse
import base64
import json
import sys
from typing import Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.runner import ROOT, SOURCES, STAGES, Outcome, StageFailed, run_stage

FLOW_RUN = "LESIONFLOW_FLOW_RUN"
REPORTS = ROOT / "reports"


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def stage(stage: str) -> State[Any]:
    """Run one DVC stage; its output streams into this task's log, and the state says whether DVC had it cached."""
    logger = get_run_logger()
    outcome = run_stage(stage, logger.info, {FLOW_RUN: str(runtime.flow_run.id or "")})
    said = "cached: nothing it depends on has changed" if outcome.cached else f"ran in {outcome.seconds:.1f} s"
    return Completed(message=said, name="Cached" if outcome.cached else "Completed", data=outcome)


@task(cache_policy=NO_CACHE)
def publish(outcomes: list[Outcome]) -> None:
    """Publish what people read: which stages ran, the test figures, the gate's verdict, the confusion matrix."""
    create_table_artifact(
        key="stages",
        table=[{"stage": item.stage, "cached": item.cached, "seconds": round(item.seconds, 1)} for item in outcomes],
        description="stages of this run",
    )
    create_markdown_artifact(key="summary", markdown=summary(), description="test figures and the gate's verdict")
    picture = base64.b64encode((REPORTS / "evaluation" / "confusion.png").read_bytes()).decode()
    create_image_artifact(key="confusion-matrix", image_url=f"data:image/png;base64,{picture}", description="confusion matrix on test")


def summary() -> str:
    """The test figures with their intervals and the gate's verdict rule by rule, as Markdown."""
    evaluation = json.loads((REPORTS / "evaluation.json").read_text(encoding="utf-8"))
    registration = json.loads((REPORTS / "registration.json").read_text(encoding="utf-8"))
    figures = {name: value for name, value in evaluation["test"].items() if isinstance(value, dict)}
    rows = [f"| {name.replace('_', ' ')} | {row['value']:.3f} | {row['low']:.3f} to {row['high']:.3f} |" for name, row in figures.items()]
    rules = [f"| {'pass' if rule['passed'] else '**fail**'} | {rule['name']} | {rule['says']} |" for rule in registration["gate"]]
    champion = registration["champion"] or "none yet"
    return "\n".join(
        [
            f"## {registration['model']} version {registration['version']} ({evaluation['picked']}), champion: {champion}",
            f"\n{evaluation['test']['images']} test images of {evaluation['test']['groups']} lesions\n",
            "| test figure | value | 95 % interval |\n| --- | --- | --- |",
            *rows,
            "\n| gate | rule | |\n| --- | --- | --- |",
            *rules,
            f"\nMLflow run `{registration['mlflow_run']}`",
        ]
    )


@flow(name="training", log_prints=True)
def training() -> list[Outcome]:
    """Bring the whole pipeline up to date, stage by stage, and publish what came out."""
    for source in SOURCES:
        stage(source)
    outcomes: list[Outcome] = [stage(name).result() for name in STAGES]
    publish(outcomes)
    return outcomes


def main() -> None:
    """Run the flow once, here and now; exit code 1 where a stage failed."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        outcomes = training()
    except StageFailed as fault:
        print(f"\nerror: {fault}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    for outcome in outcomes:
        print(f"{outcome.stage:<10} {'cached' if outcome.cached else 'ran':<7} {outcome.seconds:6.1f} s")


if __name__ == "__main__":
    main()
