"""What a profile may say of a remote provider: limits, prices, addresses; checked while it is read."""

from __future__ import annotations

from dataclasses import fields
from datetime import date

from pydantic import Field

from harness.core.yaml import Strict, VariableName
from harness.providers.http_client.exchange import Policy


class Price(Strict):
    """What one picture costs, and when somebody last looked."""

    usd: float = Field(ge=0)
    as_of: date
    note: str = ""  # size, quality, source


class RemoteOptions(Strict):
    """What a profile may say of any service; an adapter adds its own and the defaults."""

    url: str = ""  # scheme, host and, where the service has one, a path before its routes
    model: str = ""
    key: VariableName = ""  # the environment variable that holds the key; "": none is needed
    header: str = "Authorization"
    prefix: str = "Bearer "  # before the key, in the header
    ca_bundle: str = ""  # a file of authorities, from the profile's folder on; trusted for this service alone
    concurrency: int = Field(4, ge=1, le=256)  # calls at once
    per_minute: float | None = Field(None, gt=0)  # calls
    per_call: int = Field(1, ge=1, le=10)  # pictures asked for in one call, where the service can
    price: Price | None = None  # None: not known, and said so
    describe: bool = True  # the subject's traits take the trigger's place, which no service knows
    emulated: bool | None = None  # None: as the profile says
    faults: tuple[str, ...] = ()  # of the emulator, one a request, then all is well
    poll_every: float = Field(2.0, gt=0, le=60)  # seconds
    attempts: int = Field(Policy.attempts, ge=1, le=20)
    deadline: float = Field(Policy.deadline, gt=0)
    connect: float = Field(Policy.connect, gt=0)
    read: float = Field(Policy.read, gt=0)
    backoff: float = Field(Policy.backoff, ge=0)
    longest_wait: float = Field(Policy.longest_wait, ge=0)
    max_bytes: int = Field(Policy.max_bytes, gt=0)

    @property
    def policy(self) -> Policy:
        return Policy(**self.model_dump(include={field.name for field in fields(Policy)}))
