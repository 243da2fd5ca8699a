"""Averaged weights: what is validated and kept is the moving average of the weights over the steps (Polyak and Juditsky 1992).

Keras' optimisers keep the average (`use_ema`). Its callback SwapEMAWeights does not fit here: `fit` ends by overwriting the
weights with their average, so that a training by one epoch at a time would go on from the average.
"""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras


def kept_weights(model: "keras.Model") -> list[NDArray[Any]]:
    """The weights of a compiled, built model as `get_weights` gives them; those that its optimiser averages, averaged."""
    averages = {id(variable): average for variable, average in _averaged(model)}
    return [averages.get(id(variable), variable).numpy() for variable in model.weights]


def validating_averages(model: "keras.Model") -> "list[keras.callbacks.Callback]":
    """Callbacks for a `fit` of one epoch: it validates the average, and ends in the weights that training goes on from."""
    import keras

    pairs = _averaged(model)
    trained: list[NDArray[Any]] = []

    def show_average(_: Any) -> None:
        trained[:] = [variable.numpy() for variable, _ in pairs]
        for variable, average in pairs:
            variable.assign(average)

    def put_back(_: Any) -> None:
        for (variable, _), value in zip(pairs, trained, strict=True):
            variable.assign(value)

    return [keras.callbacks.LambdaCallback(on_test_begin=show_average, on_train_end=put_back)] if pairs else []


def _averaged(model: "keras.Model") -> list[tuple[Any, Any]]:
    """Trained variables, each with its average; none where the optimiser keeps no averages."""
    if not model.optimizer.use_ema:
        return []
    return list(zip(model.trainable_variables, model.optimizer._model_variables_moving_average, strict=True))
