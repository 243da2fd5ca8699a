"""What `lesionflow serve` was started with."""

import os
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Names by which this machine calls itself."""


def default_cache() -> Path:
    """Folder for versions that were fetched: `lesionflow` in the user's folder for caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lesionflow"


@dataclass(frozen=True)
class Tls:
    """PEM files of a certificate and of its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Settings:
    """Settings of a service.

    Attributes:
        model: the registered model.
        version: alias that is followed, or number of the version that answers.
        host, port: address that the service listens on.
        allowed_hosts: names that requests may call the service by, without port.
        key: that programs and people must give; None needs none.
        tls: files for HTTPS; None for HTTP.
        behind_proxy: whether a proxy before the service ends TLS.
        threads: number of images that are computed at a time.
        waiting: number of requests that may wait for a thread; more are answered with 503.
        max_image_bytes: of one image.
        max_images: of one request.
        request_seconds: within which a request's body must arrive.
        ask_first: whether the page asks for the reader's own impression before it shows the answer.
        review: whether `/review` is served.
        cache: folder for versions that were fetched.
    """

    model: str
    version: str = "champion"
    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: tuple[str, ...] = LOOPBACK_NAMES
    key: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    behind_proxy: bool = False
    threads: int = 2
    waiting: int = 32
    max_image_bytes: int = 20_000_000
    max_images: int = 8
    request_seconds: float = 30
    ask_first: bool = False
    review: bool = False
    cache: Path = field(default_factory=default_cache)
