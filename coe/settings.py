"""Where the gateway runs: process settings from `COE_*` environment variables, read once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_MIB = 1024 * 1024
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


class Settings(BaseSettings):
    """Process settings; what the system *is* stands in experts.yaml.

    Each field is read from the environment variable `COE_` + its name in capitals.
    """

    model_config = SettingsConfigDict(env_prefix="COE_", frozen=True, extra="ignore")

    config: Path = Field(default=Path("experts.yaml"), description="the composition file")
    host: str | None = Field(default=None, description="overrides server.listen")
    port: int | None = Field(default=None, ge=0, le=65535, description="overrides server.listen")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="from `warning` on, requests are not logged"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="of the log: lines for people, or an object a line"
    )
    http_client: Literal["lean", "aiohttp"] = Field(
        default="lean", description="the client that talks to backends"
    )
    max_body_bytes: int = Field(default=8 * _MIB, ge=1024, description="of a request")
    max_header_bytes: int = Field(
        default=32 * 1024, ge=4096, description="of a request's head, give or take a packet"
    )
    max_depth: int = Field(default=64, ge=4, le=512, description="nesting of a request's JSON")
    max_messages: int = Field(default=2048, ge=1, description="in one request")
    max_choices: int = Field(default=16, ge=1, description="largest `n`")
    max_tools: int = Field(default=256, ge=1, description="in one request")
    max_output_tokens: int = Field(
        default=1_000_000, ge=1, description="largest `max_tokens` that is taken"
    )
    max_in_flight: int = Field(
        default=2048, ge=1, description="more than this is refused (503), bulk from four fifths on"
    )
    max_file_bytes: int = Field(
        default=200 * _MIB, ge=1024, description="of a file for /v1/batches"
    )
    max_files_bytes: int = Field(
        default=10 * 1024 * _MIB,
        ge=1024,
        description="of all files that a key has, those that its batches wrote included; where no "
        "keys are asked for, of all files together. An upload beyond it is refused (413), and a "
        "batch where nothing is left",
    )
    batch_max_lines: int = Field(default=50_000, ge=1, description="of one batch")
    batch_concurrency: int = Field(
        default=8,
        ge=1,
        description="lines of a batch in flight on each backend; one while other requests are",
    )
    batch_lease_s: float = Field(
        default=15.0,
        ge=0.5,
        description="a gateway that is not heard of for so long loses its batch to another",
    )
    router_wait_s: float = Field(default=2.0, gt=0, description="then the default expert answers")
    admin: Literal["off", "loopback"] = Field(
        default="off",
        description="who may change the composition and the keys over HTTP where no keys are asked "
        "for: nobody, or whoever is on this machine. Where they are, the scope `admin` may",
    )
    unsafe_open: Literal["", "anyone-who-reaches-this-address-may-use-it"] = Field(
        default="",
        description="with exactly this value no keys are asked for though the gateway listens "
        "beyond loopback: for a network of which you know who is on it",
    )
    allowed_hosts: str = Field(
        default="",
        description="names, separated by commas, by which an open gateway on loopback is asked for "
        "beside `localhost` and addresses: what a proxy before it says in `Host`, for example. "
        "Where keys are asked for the name does not matter. They count on `COE_METRICS_LISTEN`, "
        "too, where that is on loopback",
    )
    metrics_listen: str = Field(
        default="",
        description="`HOST:PORT` that serves `/metrics` and `/health/` without keys, and nothing "
        "else; a port alone means 127.0.0.1",
    )
    reload: Literal["on", "off"] = Field(
        default="on",
        description="whether an edit of the composition file, or of a file that it names, is served"
        " at once; `off`: when the process is sent SIGHUP",
    )
    drain_s: float = Field(default=20.0, ge=0, description="for requests in flight at shutdown")
    drain_notice_s: float = Field(
        default=0.0,
        ge=0,
        description="before that, after SIGTERM: requests are still taken, and `/health/ready` is"
        " 503, so that load balancers look elsewhere",
    )
    blas_threads: int = Field(
        default=1, ge=1, description="of one matrix product of a router; encoders have `threads`"
    )
    cache_dir: str = Field(
        default="",
        description="where embeddings of utterances are kept from one start to the next; "
        "empty means `$XDG_CACHE_HOME/coe` or `~/.cache/coe`, `off` means nowhere",
    )
    state_dir: str = Field(
        default="",
        description="where outcomes, batches and the history of maps are kept; empty means `.coe` "
        "beside the composition file",
    )

    redis_url: str = Field(
        default="",
        repr=False,
        description="what several replicas share: `redis://[USER:PASSWORD@]HOST:PORT/DB`, or "
        "`rediss://` with TLS; empty where one process serves alone",
    )
    redis_prefix: str = Field(
        default="coe:",
        description="of every key there; gateways with the same one share their state",
    )
    replica_url: str = Field(
        default="",
        description="where the other replicas reach this one, such as `http://10.0.0.7:8080`; "
        "needed with COE_REDIS_URL where a backend on the network has `memory`",
    )
    replica_secret: str = Field(
        default="",
        repr=False,
        description="by which replicas know each other, at least 32 bytes, the same for all; "
        "`${file:PATH}` reads it from a file",
    )
    replica_lease_s: float = Field(
        default=5.0,
        ge=0.5,
        description="a replica that is not heard of for so long loses the memory that it manages "
        "to another; the same for all",
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, given: str) -> str:
        """See that hosts are names alone. Raises ValueError, which names the one that is not."""
        for name in _listed(given):
            if not _HOST.fullmatch(name):
                message = f"{name!r} is no name of a host: write it without scheme, port and path"
                raise ValueError(message)
        return given

    @property
    def hosts(self) -> frozenset[str]:
        """The names of `allowed_hosts`, in small letters."""
        return frozenset(_listed(self.allowed_hosts))

    @property
    def state_folder(self) -> Path:
        """The folder for what cannot be made again without asking the experts."""
        if self.state_dir:
            return Path(os.path.expanduser(self.state_dir))  # noqa: PTH111 - see `cache_folder`
        return self.config.parent / ".coe"

    @property
    def cache_folder(self) -> str:
        """The folder for what can be made again; empty where there is none."""
        if self.cache_dir == "off":
            return ""
        if self.cache_dir:
            return os.path.expanduser(self.cache_dir)  # noqa: PTH111 - pathlib's raises without home
        base = os.environ.get("XDG_CACHE_HOME", "")
        # The XDG specification: a relative path there is to be ignored.
        if not Path(base).is_absolute():
            base = os.path.expanduser("~/.cache")  # noqa: PTH111
        return str(Path(base, "coe")) if Path(base).is_absolute() else ""


def _listed(names: str) -> list[str]:
    return [part.strip().lower() for part in names.split(",") if part.strip()]
