"""The promotion record: what made which version champion, when and why, as a ledger that is only ever added to.

It is one MLflow run for each registered model, in the experiment `promotions`. Entry N is the run's param `0001`, `0002`
and so on: MLflow never changes a param (run and key are its database's primary key), so of two writers of entry N one
wins and the other stops with an error. An entry is written before the alias moves, and `0001.moved` once it has: what a killed
process left half done can be seen and finished. The run is named in a tag of the registered model, which is made together
with the model; MLflow's page shows the record as the run's description.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError
from components.core.escaping import for_markdown, one_line
from components.core.markdown import table
from components.core.reports.registration import Promotion
from components.tracking.store import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "promotions"
RUN_TAG = "promotions.run_id"
"""Tag of the registered model that names its ledger's run."""
MODEL_TAG = "promotions.model"
"""Tag of the ledger's run that names the registered model."""
NOTE_TAG = "mlflow.note.content"
MAX_SHOWN = 40
"""Entries in the run's description, as far as there is room."""
NOTE_LIMIT = 7900
"""Characters of the run's description: MLflow cuts a tag at 8000."""
REASON_LIMIT = 1000
"""Characters of a reason: MLflow cuts a param at 6000, and a cut entry could not be read back."""


@dataclass(frozen=True)
class PromotionRecord:
    """A model's entries, oldest first, and whether the alias has followed the last one."""

    run_id: str
    entries: tuple[Promotion, ...]
    settled: bool

    @property
    def champion(self) -> str | None:
        """The version that the last entry made champion."""
        return self.entries[-1].after if self.entries else None


class ConcurrentPromotionError(LesionflowError):
    """Another process wrote the entry first; nothing was changed."""

    def __init__(self, entry: Promotion) -> None:
        self.entry = entry
        now = f"moved to version {entry.after}" if entry.after else "was removed"
        super().__init__(
            f"champion of {entry.model} {now} meanwhile ({entry.source}, by {entry.who}, {entry.when}), so nothing was changed:"
            " look again with `lesionflow champion show`"
        )


def new_nonce() -> str:
    """What no other entry holds."""
    return uuid.uuid4().hex


def create_record(client: "MlflowClient", model: str) -> str:
    """Make an empty ledger for a model; returns its run's id."""
    run = client.create_run(experiment_id(client, EXPERIMENT), run_name=model, tags={MODEL_TAG: model, NOTE_TAG: markdown(())})
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def find_record(client: "MlflowClient", model: str) -> str | None:
    """The run of a registered model's ledger; None if the registered model does not exist.

    A model that was registered by other means gets its ledger here, and so does one whose tag was removed by hand: the oldest
    ledger that names the model, or a new one. A run that was deleted in MLflow's page is restored.
    """
    from mlflow.exceptions import MlflowException

    try:
        run_id = client.get_registered_model(model).tags.get(RUN_TAG)
    except MlflowException as fault:
        if fault.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if run_id is None:
        experiment = experiment_id(client, EXPERIMENT)
        found = client.search_runs([experiment], f"tags.`{MODEL_TAG}` = '{model}'", order_by=["attributes.start_time ASC"], max_results=1)
        run_id = str(found[0].info.run_id) if found else create_record(client, model)
        client.set_registered_model_tag(model, RUN_TAG, run_id)
    if client.get_run(run_id).info.lifecycle_stage == "deleted":
        client.restore_run(run_id)
    return str(run_id)


def load_record(client: "MlflowClient", run_id: str) -> PromotionRecord:
    """The ledger as it stands.

    Raises:
        LesionflowError: an entry is missing before a later one, or cannot be read.
    """
    params = client.get_run(run_id).data.params
    numbers = sorted(int(key) for key in params if key.isdigit())
    if numbers != list(range(1, len(numbers) + 1)):
        raise LesionflowError(f"the promotion record (MLflow run {run_id}) has gaps: it was changed by other means than Lesionflow")
    try:
        entries = tuple(Promotion(**json.loads(params[_key(number)])) for number in numbers)
    except (KeyError, TypeError, ValueError) as fault:
        raise LesionflowError(f"the promotion record (MLflow run {run_id}) holds an entry that Lesionflow did not write: {fault}") from None
    return PromotionRecord(run_id, entries, not entries or _moved(len(entries)) in params)


def append_entry(client: "MlflowClient", ledger: PromotionRecord, entry: Promotion) -> PromotionRecord:
    """Write the entry that follows `ledger` as it was read: the claim that other writers respect.

    Raises:
        ConcurrentPromotionError: another entry was written there first.
    """
    from mlflow.exceptions import MlflowException

    if not ledger.settled:
        raise ValueError("the last entry's move is finished before another entry is written")
    number = len(ledger.entries) + 1
    try:
        client.log_param(ledger.run_id, _key(number), json.dumps(asdict(entry), sort_keys=True))
    except MlflowException:
        # Refused, or an answer lost on its way: what the ledger holds now says which.
        now = load_record(client, ledger.run_id)
        if len(now.entries) < number:
            raise
        if now.entries[number - 1] != entry:
            raise ConcurrentPromotionError(now.entries[number - 1]) from None
    entries = (*ledger.entries, entry)
    client.set_tag(ledger.run_id, NOTE_TAG, markdown(entries))
    return PromotionRecord(ledger.run_id, entries, settled=False)


def mark_alias_moved(client: "MlflowClient", ledger: PromotionRecord) -> PromotionRecord:
    """Say that the alias has followed the last entry."""
    client.log_param(ledger.run_id, _moved(len(ledger.entries)), "yes")
    return PromotionRecord(ledger.run_id, ledger.entries, settled=True)


def _key(number: int) -> str:
    return f"{number:04d}"


def _moved(number: int) -> str:
    return f"{_key(number)}.moved"


def markdown(entries: Sequence[Promotion]) -> str:
    """The newest entries as a table for MLflow's page, the newest first."""
    rows = [
        [
            row.when[:16].replace("T", " "),
            row.before or "none",
            row.after or "none",
            row.source,
            for_markdown(row.verdict),
            for_markdown(row.who),
            _cell(row.reason),
        ]
        for row in reversed(entries[-MAX_SHOWN:])
    ]
    head, rule, *lines = table(["when (UTC)", "from", "to", "by", "gate", "who", "reason"], rows).split("\n")
    text = f"Every change of champion, newest first. The params of this run are the record: do not delete it.\n\n{head}\n{rule}"
    for line in lines:
        if len(text) + len(line) >= NOTE_LIMIT:
            break
        text += f"\n{line}"
    return text


def _cell(text: str) -> str:
    flat = one_line(text)
    return for_markdown(flat if len(flat) <= 60 else f"{flat[:59]}…")
