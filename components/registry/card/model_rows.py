"""Rows about the model: what it takes, how it was trained, how it decides, and what it is made of."""

from collections.abc import Mapping
from typing import Any

from components.core.reports.candidate import Candidate
from components.core.reports.index import IndexReport
from components.data_quality.policy import LEFT_OUT
from components.registry.card.entries import OLDER, Contents, given, listed, named, not_measured, not_recorded, stated, table
from components.registry.card.model import Entry
from components.registry.card.sources import Sources


def identity(sources: Sources) -> Contents:
    """What identifies the version. Its number and date are MLflow's, which gives them after the card is written."""
    measured, candidate = sources.measured, sources.candidate
    return Contents(
        {
            "version": given("Number and date", "as MLflow's page of the version shows them"),
            "model_sha256": given("Model (sha256)", candidate.model_sha256),
            "label_set": given("Label set", f"{sources.labels.name}: {listed(sources.labels.outputs)}"),
            "data": given("Dataset (md5)", measured.data_md5),
            "code": _code("Code (git commit)", sources),
            "contact": stated("Contact", sources.statements.contact),
        }
    )


def _code(label: str, sources: Sources) -> Entry:
    git = sources.measured.git
    if git is None or git.commit == "none":
        return not_measured(label, "the version was not made in a git checkout" if git else OLDER)
    return given(label, f"{git.commit}{', with changes that are not in it' if git.dirty else ''}")


def model_input(sources: Sources) -> Contents:
    """What the version takes, and what happens with images that are none of it."""
    candidate, cohort, params = sources.candidate, sources.cohort, sources.background.params
    side = cohort.short_side if cohort else None
    left_out, refused = _left_out(params.get("validate")), "Images left out of training"
    trained_on = "Short side of the images"
    kinds = sorted({source.image_type or "not named" for source in cohort.sources or ()}) if cohort else []
    kind = "Kind of images"
    return Contents(
        {
            "kind": given(kind, ", ".join(kinds)) if kinds else not_recorded(kind, cohort.usable if cohort else None),
            "formats": given("Files", "JPEG and PNG, in color; turned upright, brought to sRGB by their color profile, put on white"),
            "crop": given("Crop", f"the largest centered square, scaled to {candidate.image_size} x {candidate.image_size} pixels"),
            "resolution": given(
                "Resolution",
                f"reduced to {candidate.resolution} pixels first, so that all images are equally sharp"
                if candidate.resolution
                else "as it is",
            ),
            "short_side": given(trained_on, f"{side.least} to {side.largest} pixels, median {side.median}")
            if side
            else not_recorded(trained_on, cohort.usable if cohort else None),
            "refused": not_measured(refused, OLDER) if left_out is None else given(refused, left_out or "none"),
            "poor": given("A file that cannot be read", "is refused with the reason; it gets no answer"),
            "missing": given("Other data", "none: the model sees pixels only, neither age nor sex, site, history or change over time"),
            "phone": given(
                "On a phone",
                "the centered square must be cropped and averaged to the size of the model first; a phone has no index of the training"
                ' images, so it cannot tell "unlike anything in training", and abstains by probability alone',
            ),
        }
    )


def _left_out(validate: Mapping[str, Any] | None) -> str | None:
    """The images that the policy of the version excluded for how they look; None if the params are not known."""
    if validate is None:
        return None
    reasons = {
        "too_small": f"short side below {validate['min_side']} pixels",
        "odd_aspect_ratio": f"long side over {validate['max_aspect']:g} times the short one",
        "low_information": f"contrast below {validate['min_contrast']:g} gray levels",
        "not_dermoscopic": "mostly one color, or black and white",
    }
    return ", ".join(text for kind, text in reasons.items() if validate["policy"][kind]["action"] in LEFT_OUT)


def training(sources: Sources) -> Contents:
    """Architecture, training and software."""
    candidate, measured, params = sources.candidate, sources.measured, sources.background.params
    base = candidate.backbone
    seed = "Seed"
    entries = {
        "architecture": given("Architecture", f"{base.architecture}, width {base.alpha:g}, {len(candidate.outputs)} outputs"),
        "weights": given("Initial weights", base.weights),
        "phase": given("Phase", "head on the frozen base" if candidate.phase == "frozen" else "upper blocks fine-tuned after the head"),
        "temperature": given("Temperature", f"{candidate.temperature:.3f}, fitted on validation"),
        "seed": given(seed, str(measured.params.seed)) if measured.params.seed is not None else not_measured(seed, OLDER),
        "software": given("Software", ", ".join(f"{name} {number}" for name, number in _software(sources).items())),
        "hardware": stated("Hardware and time", sources.statements.hardware),
    }
    if not params:
        return Contents({**entries, "params": not_measured("Params", OLDER)})
    sections = ("images", "augment", "embed", "train", *(["finetune"] if candidate.phase == "finetuned" else []))
    rows = [(f"{section}.{key}", _param(value)) for section in sections for key, value in params[section].items()]
    entries["params"] = given("Params", f"{len(rows)} values of params.yaml, below; the curves are in the version's MLflow run")
    return Contents(entries, {"params": table("Params of training", ("param", "value"), rows)})


def _software(sources: Sources) -> dict[str, str]:
    return {"Python": sources.measured.python or "of an unknown version", **sources.measured.packages}


def _param(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_param, value)) or "none"
    return ("yes" if value else "no") if isinstance(value, bool) else "none" if value is None else str(value)


def thresholds(sources: Sources) -> Contents:
    """How a diagnosis is named, and from which probabilities something is done."""
    candidate, clinic, abstention = sources.candidate, sources.clinic, sources.evaluation.abstention
    entries = {
        "chosen_on": given("Chosen on", "validation, by lesion or patient; no test image chooses a threshold"),
        "named_diagnosis": given("Named diagnosis", _named_diagnosis(candidate)),
        "abstention": given("Abstention", f"largest probability below {abstention.threshold:.3f}")
        if abstention
        else not_measured("Abstention", "the version always answers"),
        "novelty": _novelty(sources.index),
        "operating_points": _points(sources),
        "prevalence": given("Class shares behind the probabilities", _shares(clinic.class_shares))
        if clinic and clinic.class_shares
        else not_measured("Class shares behind the probabilities", "" if clinic else OLDER),
        "clinic_prevalence": stated("Class shares in the clinic (serve.prevalence)", _shares(candidate.clinic_shares)),
    }
    if not (clinic and clinic.operating_points):
        return Contents(entries)
    columns = ("operating point", "malignant probability from", "targets", "sensitivity on validation", "specificity on validation")
    rows = [
        (named(name), point.threshold, _shares(point.targets or {}) or "none", point.validation_sensitivity, point.validation_specificity)
        for name, point in clinic.operating_points.items()
    ]
    return Contents(entries, {"operating_points": table("Operating points", columns, rows)})


def _named_diagnosis(candidate: Candidate) -> str:
    critical, lift, likeliest = candidate.label_set.critical, candidate.critical_lift, "the class with the largest probability"
    if critical is None or not lift:
        return likeliest
    if not candidate.decision_offsets:
        return f"{likeliest}; that of {named(critical)} is too high on purpose, since its logit is raised by {lift:.3f}"
    return f"{likeliest}, after the logit of {named(critical)} is raised by {lift:.3f}; no probability contains this"


def _novelty(index: IndexReport | None) -> Entry:
    label = "Unlike anything in training"
    if index is None:
        return not_measured(label, "the version holds no index of training images")
    novelty = index.novelty
    if novelty.threshold is None:
        return given(label, f"nothing is: {novelty.calibration_images} validation images are too few for a threshold")
    limit = f"cosine distance over {novelty.threshold:.3f}"
    return given(label, f"{limit}, which at most {novelty.max_share:.0%} of images like those of validation have")


def _points(sources: Sources) -> Entry:
    label, clinic = "Operating points", sources.clinic
    if clinic is None:
        return not_measured(label, OLDER)
    if not clinic.operating_points:
        return not_measured(label, "the label set does not tell malignant from benign")
    return given(label, ", ".join(f"{named(name)} {point.threshold:.3f}" for name, point in clinic.operating_points.items()))


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{named(name)} {share:.0%}" for name, share in shares.items())


def logic(sources: Sources) -> Contents:
    """How an answer comes about."""
    classes = len(sources.candidate.outputs)
    return Contents(
        {
            "answer": given(
                "How an answer comes about",
                f"a convolutional network turns the pixels into {classes} probabilities that add up to 1; it has learned from labeled"
                " images which patterns go with which diagnosis, and knows no rule of dermatology",
            ),
            "probability": given(
                "What a probability means",
                "the share of such answers that is right, on images like those of validation; where classes are more or less frequent, it"
                " is another",
            ),
            "maps": given(
                "Maps and similar cases",
                "a map shows which part of the image counted, not why; it is no evidence for the diagnosis. Similar cases are similar for"
                " the network",
            ),
            "features": given("Features of training images", _features(sources)),
        }
    )


def _features(sources: Sources) -> str:
    if sources.index is None:
        return "this version holds none"
    pictures = ", ".join(sources.background.params.get("serve", {}).get("similar_pictures", ())) or "none"
    return (
        f"leave with the version: those of {sources.index.training_images} images, with diagnosis, collection, license and attribution, in"
        " random order, without path, patient and lesion. Whoever has the version and an image can tell whether it was in training. Small"
        f" pictures leave of these collections only: {pictures}"
    )


def availability(sources: Sources) -> Contents:
    """What others need to repeat the training, and what they may do with it."""
    data = sources.measured.data_md5
    exports = [f"{name} TFLite, {row.bytes / 1e6:.2f} MB" for name, row in sources.export.precisions.items() if row.written]
    columns = ("file", "MB", "same diagnosis as Keras", "largest difference of a probability", "ms an image", "written")
    rows = [
        (name, row.bytes / 1e6, row.same_top1, row.largest_probability_difference, row.median_latency_ms, "yes" if row.written else "no")
        for name, row in sources.export.precisions.items()
    ]
    return Contents(
        {
            "code": _code("Code (git commit)", sources),
            "data": given("Data", f"revision {data} of data/ in DVC; whoever has access to its DVC remote can fetch it"),
            "models": given("Model", f"Keras; {'; '.join(exports)}" if exports else "Keras"),
            "license": stated("License of the model", sources.statements.license),
            "figures": given("Evidence", "test predictions, reports and split are artifacts of the version"),
        },
        {"exports": table("Exports, compared on all test images", columns, rows)},
    )
