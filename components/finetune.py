"""Fine-tune: unfreeze the upper blocks of the frozen-phase model and continue training at a low learning rate.

Reads build/shards/ and build/frozen/. Writes build/finetuned/model.keras, reports/curves/finetune.csv and
reports/finetune.json, and one MLflow run. If it is interrupted, it resumes after the last complete epoch.
"""

from typing import TYPE_CHECKING

from components.core.files import atomic_write, write_json
from components.core.label_set import LabelSet
from components.core.paths import CHECKPOINT, CURVES, FEATURE_CACHE, FINETUNED, FROZEN, MODEL_FILENAME, REPORTS, SHARDS
from components.modeling import backbone, serialization
from components.runtime.params import Backbone, Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.tracking import runs
from components.training import loop
from components.training.finetuning import FineTuning, Place

if TYPE_CHECKING:
    import keras

REPORT = REPORTS / "finetune.json"


def finetune(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: `unfreeze_from` names no block, the disk has no room for the feature cache, or MLflow does not respond.
    """
    place = Place(SHARDS, CHECKPOINT, FEATURE_CACHE)
    tuning = FineTuning.on_shards(settings, LabelSet.load().outputs, place)
    unfrozen = tuning.unfrozen(FROZEN / MODEL_FILENAME)
    print(f"training {len(unfrozen.layers)} layers of the base, from {unfrozen.layers[0] if unfrozen.layers else 'none'} up")
    tags = input_hashes(settings.base)
    with runs.start_phase_run("finetuned", settings.logged("finetuned"), tags) as mlflow_run:
        result = tuning.train(unfrozen, tags, mlflow_run.epoch)
        save_finetuned(unfrozen.network)
        loop.write_curves(result.history, CURVES / "finetune.csv")
        sizes = {"unfrozen_layers": len(unfrozen.layers), "kept_maps": result.cached_bytes}
        write_json(REPORT, {"epochs": len(result.history), "views": tuning.views, **sizes, "best": result.best})
        mlflow_run.finish(
            serialization.classifier_sha256(FINETUNED / MODEL_FILENAME), {f"best.{name}": value for name, value in result.best.items()}
        )
    place.clear()


def input_hashes(base: Backbone) -> dict[str, str]:
    """Hex sha256 of the frozen classifier and of the backbone's weights, as tags of the MLflow run."""
    return {
        "frozen.sha256": serialization.classifier_sha256(FROZEN / MODEL_FILENAME),
        "backbone.sha256": backbone.weights_sha256(base),
    }


def save_finetuned(network: "keras.Model") -> None:
    """Write build/finetuned/."""
    with atomic_write(FINETUNED) as draft:
        draft.mkdir()
        serialization.save_classifier(network, draft / MODEL_FILENAME)


if __name__ == "__main__":
    run(lambda: finetune(load()), __doc__, tensorflow=True)
