"""Settings of a service from the command's options, the environment and params.yaml, and what is refused before it starts."""

import ipaddress
import os
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.server.settings import LOOPBACK_NAMES, Settings, Tls, default_cache
from components.core.errors import LesionflowError
from components.runtime import params_file

KEY, KEY_FILE = "LESIONFLOW_API_KEY", "LESIONFLOW_API_KEY_FILE"
"""Environment variables that hold the key, or name a file with it. No option holds it: options are shown to all users of a machine."""
SHORTEST_KEY = 16
HOW_TO_MAKE_A_KEY = "Make one with `openssl rand -hex 32`"
MEGABYTE = 2**20


@dataclass(frozen=True)
class Options:
    """Options of `lesionflow serve`; `model` is None if it is not given, and params.yaml names it."""

    host: str
    port: int
    version: str
    model: str | None
    threads: int
    waiting: int
    allowed_hosts: tuple[str, ...]
    tls_certificate: Path | None
    tls_key: Path | None
    behind_proxy: bool
    review: bool
    ask_first: bool
    cache: Path | None


def settings_of(options: Options, environment: Mapping[str, str] = os.environ, params: Path = params_file.PARAMS_FILE) -> Settings:
    """The settings of a service.

    Raises:
        LesionflowError: the service may not be started with them; the message says what to do.
    """
    given = Settings(
        model=options.model or "",
        version=options.version,
        host=options.host,
        port=options.port,
        key=_key(environment),
        tls=_tls(options.tls_certificate, options.tls_key),
        behind_proxy=options.behind_proxy,
        threads=options.threads,
        waiting=options.waiting,
        ask_first=options.ask_first,
        review=options.review,
        cache=options.cache or default_cache(),
    )
    return _with_params(_with_allowed_hosts(given, options.allowed_hosts), params)


def _with_params(given: Settings, params: Path) -> Settings:
    """The settings with those of params.yaml; a service may also run in a folder without it."""
    if not params.exists():
        if not given.model:
            raise LesionflowError(f"{params} does not exist here. Run this command from the project's root, or name the model with --model")
        return given
    found = params_file.load(params)
    return replace(
        given,
        model=given.model or found.registration.registered_model,
        ask_first=given.ask_first or found.serve.ask_first,
        max_image_bytes=found.importing.max_file_mb * MEGABYTE,
    )


def _with_allowed_hosts(given: Settings, allowed_hosts: tuple[str, ...]) -> Settings:
    """The settings with the names that requests may use, if the service may be started with them."""
    is_open = given.behind_proxy or not is_loopback(given.host)
    if is_open and given.key is None:
        where = "behind a proxy" if given.behind_proxy else f"on {given.host}, which other machines reach"
        raise LesionflowError(f"the service needs a key {where}. {HOW_TO_MAKE_A_KEY}, and name its file in {KEY_FILE}")
    if is_open and given.tls is None and not given.behind_proxy:
        raise LesionflowError(
            f"the service needs TLS on {given.host}, which other machines reach. Give --tls-certificate and --tls-key,"
            " or --behind-proxy where a proxy ends TLS"
        )
    if is_open and not allowed_hosts and (given.behind_proxy or _is_any(given.host)):
        raise LesionflowError("the name by which people call the service is not known. Give it with --allowed-host")
    own = () if _is_any(given.host) else (f"[{given.host}]" if ":" in given.host else given.host,)
    return replace(given, allowed_hosts=tuple(dict.fromkeys((*allowed_hosts, *own, *LOOPBACK_NAMES))))


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _key(environment: Mapping[str, str]) -> str | None:
    file, key = environment.get(KEY_FILE), environment.get(KEY)
    if file and key:
        raise LesionflowError(f"{KEY_FILE} and {KEY} are both set. Unset one of them")
    if file:
        key, source = _read_secret(Path(file)).strip(), f"the key in {file}"
    else:
        source = KEY
    if key is None or (not key and not file):
        return None
    if len(key) < SHORTEST_KEY or not (key.isascii() and key.isprintable()) or " " in key:
        raise LesionflowError(f"{source} must be {SHORTEST_KEY} or more printable ASCII characters without spaces. {HOW_TO_MAKE_A_KEY}")
    return key


def _read_secret(path: Path) -> str:
    _refuse_if_shared(path)
    try:
        return path.read_text(encoding="ascii")
    except OSError as fault:
        raise LesionflowError(f"{path} cannot be read: {fault.strerror}. Name the key's file in {KEY_FILE}") from None
    except UnicodeDecodeError:
        raise LesionflowError(f"{path} does not hold a key: it is not ASCII text. {HOW_TO_MAKE_A_KEY}") from None


def _refuse_if_shared(path: Path) -> None:
    """Refuse a file of a key that every user of this machine can open."""
    try:
        mode = path.stat().st_mode
    except OSError as fault:
        raise LesionflowError(f"{path} cannot be read: {fault.strerror}. Name another file") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise LesionflowError(f"{path} can be read or changed by other users. Run `chmod 600 {path}`")


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise LesionflowError("TLS needs two files. Give both --tls-certificate and --tls-key")
    _refuse_if_shared(key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as fault:
        reason = fault.strerror or fault.args[-1]
        raise LesionflowError(f"{certificate} and {key} are not a certificate and its private key in PEM format: {reason}") from None
    return Tls(certificate, key)
