"""What `lesionflow serve` refuses before it starts, and the settings that it makes of its options."""

import subprocess
from dataclasses import replace

import pytest

from app.server.options import Options, settings_of
from components.core.errors import LesionflowError

KEY = "0123456789abcdef-key"
OPTIONS = Options(
    host="127.0.0.1",
    port=8000,
    version="champion",
    model="m",
    threads=2,
    waiting=32,
    allowed_hosts=(),
    tls_certificate=None,
    tls_key=None,
    behind_proxy=False,
    review=False,
    ask_first=False,
    cache=None,
)


@pytest.fixture
def make(tmp_path):
    def settings(environment=(), **changes):
        return settings_of(replace(OPTIONS, **changes), dict(environment), tmp_path / "params.yaml")

    return settings


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    names = [str(folder / "key.pem"), str(folder / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lesions.example", "-days", "2"]
    subprocess.run([*command, "-keyout", names[0], "-out", names[1]], check=True, capture_output=True)
    (folder / "key.pem").chmod(0o600)
    return {"tls_key": folder / "key.pem", "tls_certificate": folder / "certificate.pem"}


def refusal(make, environment=(), **changes):
    with pytest.raises(LesionflowError) as refused:
        make(environment, **changes)
    message = str(refused.value)
    assert KEY not in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_loopback_needs_no_key(make, host):
    made = make(host=host)
    assert made.key is None
    assert {"localhost", "127.0.0.1", "[::1]"} <= set(made.allowed_hosts)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "lesions.example"])
def test_other_addresses_need_key_tls_and_a_name(make, host, certificate, key_file):
    environment = {"LESIONFLOW_API_KEY_FILE": str(key_file)}
    assert "LESIONFLOW_API_KEY_FILE" in refusal(make, host=host, **certificate)
    assert "--tls-certificate" in refusal(make, environment, host=host)
    made = make(environment, host=host, allowed_hosts=("lesions.example",), **certificate)
    assert (made.key, made.tls.key) == (KEY, certificate["tls_key"])
    assert "lesions.example" in made.allowed_hosts


def test_name_is_needed_where_the_address_has_none(make, certificate):
    environment = {"LESIONFLOW_API_KEY": KEY}
    assert "--allowed-host" in refusal(make, environment, host="0.0.0.0", **certificate)
    assert "192.168.1.7" in make(environment, host="192.168.1.7", **certificate).allowed_hosts


def test_proxy_needs_key_and_name_on_loopback_too(make):
    assert "key behind a proxy" in refusal(make, behind_proxy=True)
    assert "--allowed-host" in refusal(make, {"LESIONFLOW_API_KEY": KEY}, behind_proxy=True)
    assert make({"LESIONFLOW_API_KEY": KEY}, behind_proxy=True, allowed_hosts=("a.example",)).behind_proxy


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602])
def test_key_file_that_others_can_read_is_refused(make, key_file, mode):
    key_file.chmod(mode)
    assert f"chmod 600 {key_file}" in refusal(make, {"LESIONFLOW_API_KEY_FILE": str(key_file)})


@pytest.mark.parametrize("content", ["short", "", "0123456789abcdef with spaces", "0123456789abcdef\nline", "0123456789abcdefé"])
def test_key_that_is_none_is_refused(make, key_file, content):
    key_file.write_text(content)
    assert "openssl rand -hex 32" in refusal(make, {"LESIONFLOW_API_KEY_FILE": str(key_file)})


def test_two_keys_and_a_missing_file_are_refused(make, key_file, tmp_path):
    assert "both set" in refusal(make, {"LESIONFLOW_API_KEY_FILE": str(key_file), "LESIONFLOW_API_KEY": KEY})
    assert "cannot be read" in refusal(make, {"LESIONFLOW_API_KEY_FILE": str(tmp_path / "none")})


def test_key_is_in_no_text_of_the_settings(make):
    assert KEY not in repr(make({"LESIONFLOW_API_KEY": KEY}))


def test_tls_files_that_do_not_fit_are_refused(make, certificate, key_file):
    assert "both" in refusal(make, tls_key=certificate["tls_key"])
    assert "PEM" in refusal(make, tls_key=key_file, tls_certificate=certificate["tls_certificate"])


def test_shared_tls_key_is_refused(make, certificate):
    certificate["tls_key"].chmod(0o644)
    try:
        assert "chmod 600" in refusal(make, **certificate)
    finally:
        certificate["tls_key"].chmod(0o600)


def test_model_is_needed_without_params(make):
    assert "--model" in refusal(make, model=None)


def test_params_give_what_options_leave_open(make, params, tmp_path):
    import yaml

    params["serve"]["ask_first"] = True
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    made = make(model=None)
    assert (made.model, made.ask_first) == (params["register"]["registered_model"], True)
    assert made.max_image_bytes == params["import"]["max_file_mb"] * 2**20
    assert make(model="other").model == "other"
