"""The diagram docs/assets/sequence.svg: what happens between a Prefect task and MLflow when a stage runs. Light and dark."""

from dataclasses import dataclass
from html import escape

from documentation.svg import picture

PARTICIPANTS = ("Prefect task", "dvc repro --single-item", "python -m components.STAGE", "MLflow")
GAP, BOX_WIDTH, BOX_HEIGHT, MARGIN = 264, 250, 38, 10
FIRST, STEP, LOOP = 84, 38, 26
"""Height of the first message and the distance between messages; width of the loop of a message to oneself."""


@dataclass(frozen=True)
class Message:
    """A message between two participants, named by their numbers; an answer has a dashed line."""

    start: int
    end: int
    text: str
    answer: bool = False


MESSAGES = (
    Message(0, 1, "starts one stage, streams its output"),
    Message(1, 1, "compares its inputs with dvc.lock"),
    Message(1, 0, "unchanged: state Cached", answer=True),
    Message(1, 2, "changed: runs the stage's command"),
    Message(2, 2, "reads files, writes complete files"),
    Message(2, 3, "train, finetune, register: logs the run"),
    Message(2, 1, "exit code 0, 1, 75 or 130", answer=True),
    Message(1, 1, "0: records outputs in dvc.lock"),
    Message(1, 0, "0: Completed, 75: retry, else: Failed", answer=True),
)


def svg() -> str:
    """The diagram as SVG text."""
    width = 2 * MARGIN + (len(PARTICIPANTS) - 1) * GAP + BOX_WIDTH
    height = FIRST + len(MESSAGES) * STEP
    lines = [f'<path class="thin" d="M{_x(number)} {MARGIN + BOX_HEIGHT}V{height - MARGIN}"/>' for number in range(len(PARTICIPANTS))]
    boxes = [_participant(number, name) for number, name in enumerate(PARTICIPANTS)]
    messages = [_message(FIRST + number * STEP, message) for number, message in enumerate(MESSAGES)]
    return picture(f"A stage runs: {', '.join(PARTICIPANTS)}", width, height, [*lines, *boxes, *messages])


def _x(number: int) -> int:
    """Where the line of a participant is."""
    return MARGIN + BOX_WIDTH // 2 + number * GAP


def _participant(number: int, name: str) -> str:
    left = _x(number) - BOX_WIDTH // 2
    return (
        f'<rect x="{left}" y="{MARGIN}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text class="name" x="{_x(number)}" y="{MARGIN + 24}">{escape(name)}</text>'
    )


def _message(y: int, message: Message) -> str:
    start, end = _x(message.start), _x(message.end)
    if start == end:
        return (
            f'<path d="M{start} {y - 8}h{LOOP}v16H{start + 9}"/><path class="head" d="M{start + 1} {y + 8}l8 -4v8z"/>'
            f'<text class="left" x="{start + LOOP + 7}" y="{y + 4}">{escape(message.text)}</text>'
        )
    back = 1 if start > end else -1
    kind = ' class="dashed"' if message.answer else ""
    return (
        f'<path{kind} d="M{start} {y}H{end + back * 9}"/><path class="head" d="M{end + back} {y}l{back * 8} -4v8z"/>'
        f'<text x="{(start + end) / 2:g}" y="{y - 8}">{escape(message.text)}</text>'
    )
