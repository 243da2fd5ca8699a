"""What runs the service and the lab elsewhere: each command exists and has the options that are given to it."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from app.cli import main
from tests.support.project import ROOT

UNIT = ROOT / "deployment" / "lesionflow-serve.service"
PAGES = [ROOT / "docs" / "how-to" / name for name in ("run-the-service.md", "deploy-the-service.md", "deploy-the-lab.md")]
SERVE = main.commands["serve"]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments, in order."""
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage by name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if name == "FROM":
            found[rest.rpartition(" AS ")[2]] = []
        found[list(found)[-1]].append((name, rest))
    return found


def check_serve(arguments: list[str]) -> None:
    """Parse the options of `lesionflow serve` as the command does."""
    SERVE.make_context("serve", list(arguments), resilient_parsing=False)


@cache
def help_of(*command: str) -> str:
    """What a command prints about its options."""
    done = subprocess.run([sys.executable, "-m", *command, "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_options(command: tuple[str, ...], arguments: list[str]) -> None:
    options = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    assert [option for option in options if option not in help_of(*command)] == []


def test_image_of_the_service_is_small_and_without_root():
    serve = stages()["serve"]
    assert list(stages())[-1] == "serve"
    assert [rest for name, rest in serve if name == "USER"] == ["10001"]
    assert not any(word in rest for _, rest in serve for word in ("apt-get", "curl", "wget", "sudo"))
    assert any("'.[serve]'" in rest for name, rest in stages()["build"] if name == "RUN")
    exact = [rest.split()[0] for found in stages().values() for name, rest in found if name == "FROM"]
    assert set(exact) == {"python:3.11-slim"}


def test_files_that_the_image_copies_are_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for found in stages().values()
        for name, rest in found
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied <= allowed
    assert all((ROOT / source).exists() for source in copied)


def test_commands_of_the_image_have_their_options():
    found = {name: rest for name, rest in stages()["serve"] if name in ("ENTRYPOINT", "CMD", "HEALTHCHECK")}
    entry, default = yaml.safe_load(found["ENTRYPOINT"]), yaml.safe_load(found["CMD"])
    assert entry[:2] == ["lesionflow", "serve"]
    check_serve([*entry[2:], *default])
    probe = yaml.safe_load(found["HEALTHCHECK"].partition("CMD ")[2])
    assert probe[:2] == ["python", "-m"]
    check_options((probe[2],), probe[3:])


def test_probe_tells_whether_something_answers():
    done = subprocess.run([sys.executable, "-m", "app.server.probe", "--port", "9"], cwd=ROOT, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_in_a_profile_and_may_not_gain_rights(name):
    service = SERVICES[name]
    assert service["profiles"] in (["service"], ["lab"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    if name != "postgres":
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    if name not in ("postgres", "worker"):
        assert service["read_only"]


def test_compose_names_only_what_it_defines():
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        target = service.get("build", {}).get("target")
        assert target is None or target in stages()


def test_commands_of_compose_have_their_options():
    check_serve(yaml_command("serve"))
    mlflow, prefect = SERVICES["mlflow"]["command"], SERVICES["prefect"]["command"]
    assert (mlflow[:2], prefect[:3]) == (["mlflow", "server"], ["prefect", "server", "start"])
    check_options(("mlflow", "server"), mlflow[2:])
    check_options(("prefect", "server", "start"), prefect[3:])
    deploy, worker = SERVICES["worker"]["command"][2].split(" && ")
    help_of(*deploy.split()[2:])
    check_options(("prefect", "worker", "start"), worker.split()[3:])


def yaml_command(service: str) -> list[str]:
    """The command of a service with the defaults of its variables."""
    return [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", argument) for argument in SERVICES[service]["command"]]


def test_command_of_the_unit_has_its_options():
    (line,) = re.findall(r"^ExecStart=(.+)$", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    program, command, *options = shlex.split(line)
    assert (Path(program).name, command, options.pop()) == ("lesionflow", "serve", "$SERVE_OPTIONS")
    check_serve(options)


def test_systemd_accepts_the_unit(tmp_path):
    if not Path("/usr/bin/systemd-analyze").exists():
        pytest.skip("no systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/lesionflow/bin/lesionflow", "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_commands_of_the_pages_have_their_options(page):
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]
    commands = [words for line in lines for words in [shlex.split(line, comments=True)] if words]
    found = [words[words.index("serve") + 1 :] for words in commands if "serve" in words and "lesionflow" in " ".join(words[:2])]
    found += [words[words.index("lesionflow-serve") + 1 :] for words in commands if words[:2] == ["docker", "run"]]
    assert found or "lab" in page.name
    for options in found:
        if options != ["--help"]:
            check_serve(options)
    profiles = {words[words.index("--profile") + 1] for words in commands if "--profile" in words}
    assert profiles <= {profile for service in SERVICES.values() for profile in service["profiles"]}


def test_unknown_option_is_found():
    with pytest.raises(click.NoSuchOption):
        check_serve(["--open-to-all"])
