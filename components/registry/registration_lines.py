"""What registering a candidate did, for the terminal."""

from components.core.reports.registration import Registration
from components.registry import comparability
from components.runtime.params import TRAINING_PARAMS


def registration_lines(report: Registration) -> list[str]:
    """Lines for the terminal: the version, the rules of the gate and the decision."""
    lines = [f"{report.model} version {report.version} ({'new' if report.new_version else 'registered before'})"]
    lines += [f"  {'pass' if rule.passed else 'FAIL'}  {rule.name}: {rule.says}" for rule in report.gate]
    if report.warning:
        lines.append(f"  warning: {report.warning}")
    if report.champion == report.version:
        return [*lines, "it is champion"]
    if report.experiment:
        reason = f"experiments move no alias: `lesionflow champion promote {report.version}`"
        return [*lines, f"it is from the experiment {report.experiment}: {reason}; champion: {report.champion or 'none yet'}"]
    failed = [rule.name for rule in report.gate if not rule.passed]
    if failed == [comparability.RULE]:
        reason = (
            "a person decides, because it is not comparable with the champion:"
            f" `lesionflow champion promote {report.version} --override REASON`"
        )
    elif not report.gate_passed:
        reason = "the gate did not pass it"
    elif report.overtaken:
        reason = report.overtaken
    elif report.overrides_beyond_training:
        reason = (
            f"a person decides, because this run overrides {', '.join(report.overrides_beyond_training)}"
            f" (only {', '.join(TRAINING_PARAMS)} may be overridden and promoted automatically):"
            f" `lesionflow champion promote {report.version}`"
        )
    elif report.promote == "manual":
        reason = f"a person decides (register.promotion: manual): `lesionflow champion promote {report.version}`"
    else:
        reason = f"it was champion before, and comes back only by hand: `lesionflow champion promote {report.version}`"
    return [*lines, f"it is challenger: {reason}; champion: {report.champion or 'none yet'}"]
