"""`harness doctor --providers`: the cheapest real call to each remote service, those that write too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

from harness.config.profile import Profile
from harness.config.service_models import lifetime
from harness.core.errors import HarnessError
from harness.core.settings import Settings
from harness.core.values import Outcome, Request
from harness.models.loading import Models
from harness.providers import ProviderContext, open_provider
from harness.providers.http_client.exchange import Deadline, Reply, Unanswered
from harness.providers.remote import RemoteProvider, read_json
from harness.providers.text import open_writer, writer_configs
from harness.providers.text.chat import ChatWriter

PROMPT = "a red apple on a white table"


@dataclass(frozen=True)
class ProviderCheck:
    """What came of one call."""

    provider: str
    outcome: Outcome | None  # None: nothing was asked, or it went well and is a warning
    found: str
    remedy: str = ""


def check_providers(profile: Profile, settings: Settings, paid: bool) -> Iterator[ProviderCheck]:
    """Each remote provider and writer of a profile; `paid`: where nothing is free, one picture is drawn."""
    context = ProviderContext(profile, settings, Models(profile, settings))
    for name in profile.providers:
        try:
            provider = open_provider(name, context)
        except HarnessError as error:
            yield ProviderCheck(name, Outcome.PROVIDER_ERROR, str(error), "mend the profile")
            continue
        if isinstance(provider, RemoteProvider):
            yield check_provider(provider, paid)
            provider.close()
    for name in writer_configs(context):
        writer = open_writer(name, context)
        if isinstance(writer, ChatWriter):
            yield check_writer(writer)
            writer.close()


def check_provider(provider: RemoteProvider, paid: bool) -> ProviderCheck:
    """One call to one service."""
    emulated = " (emulated)" if provider.emulated else ""
    if provider.missing():
        variable = provider.missing()
        return ProviderCheck(
            provider.name, None, f"{variable} is not set; it will be skipped", f"set {variable} in .env"
        )
    try:
        call, started = provider.probe(), time.perf_counter()
        if call is None and not paid:
            price = f" (${provider.price_usd:g})" if provider.price_usd else ""
            return ProviderCheck(provider.name, None, f"has no free call{emulated}", f"--paid draws one picture{price}")
        if call is None:
            return draw_one(provider)
        reply = provider.session.send(call, Deadline(provider.options.deadline))
        if reply.status >= 300:
            raise provider.problem(reply)
        ends = announced_end(reply)
    except Unanswered as failure:
        return ProviderCheck(provider.name, failure.outcome, f"{failure.outcome.value}{emulated}", str(failure))
    model = f", model {provider.options.model}" if provider.options.model else ""
    seconds = time.perf_counter() - started
    found = f"answers in {seconds:.1f} s{model}, nothing billed{emulated}"
    if ends is not None:
        remedy = lifetime(provider.service_name, provider.options.model, date.min, ends)[1]
        return ProviderCheck(provider.name, None, f"{found}; it says that the model ends on {ends}", remedy)
    return ProviderCheck(provider.name, Outcome.OK, found)


def announced_end(reply: Reply) -> date | None:
    """The day on which a model ends, as the reply about it says; OpenAI's do."""
    try:
        return date.fromisoformat(str(read_json(reply).get("shutdown_date")))
    except (Unanswered, ValueError):
        return None


def check_lifetimes(profile: Profile, settings: Settings, today: date) -> Iterator[ProviderCheck]:
    """Every model of a profile that ends or has ended, by the list of `config/service_models.py`; nobody is asked."""
    context = ProviderContext(profile, settings, Models(profile, settings))
    for name in profile.providers:
        try:
            provider = open_provider(name, context)
        except HarnessError:
            continue  # told where keys are looked at
        if isinstance(provider, RemoteProvider):
            yield from check_lifetime(name, provider.service_name, provider, today)
    for name in writer_configs(context):
        writer = open_writer(name, context)
        if isinstance(writer, ChatWriter):
            yield from check_lifetime(f"{name} (text)", writer.service, writer, today)


def check_lifetime(name: str, service: str, asker: RemoteProvider | ChatWriter, today: date) -> Iterator[ProviderCheck]:
    """One model's; another host that speaks the service's interface has models of its own."""
    usual = urlsplit(str(type(asker).Options.model_fields["url"].default or "")).hostname
    if usual and urlsplit(asker.options.url).hostname != usual:
        return
    found, remedy = lifetime(service, asker.options.model, today)
    if found:
        yield ProviderCheck(name, None, found, remedy)


def check_writer(writer: ChatWriter) -> ProviderCheck:
    """One free call to a service that writes."""
    name, emulated = f"{writer.name} (text)", " (emulated)" if writer.emulated else ""
    if writer.missing():
        return ProviderCheck(name, None, f"{writer.missing()} is not set", f"set {writer.missing()} in .env")
    started = time.perf_counter()
    try:
        writer.accept(writer.send(writer.probe(), Deadline(writer.options.deadline)))
    except Unanswered as failure:
        return ProviderCheck(name, failure.outcome, f"{failure.outcome.value}{emulated}", str(failure))
    seconds = time.perf_counter() - started
    return ProviderCheck(
        name, Outcome.OK, f"answers in {seconds:.1f} s, model {writer.model}, nothing billed{emulated}"
    )


def draw_one(provider: RemoteProvider) -> ProviderCheck:
    """A picture, where a service has nothing cheaper."""
    width, height = provider.context.profile.size
    model, extra = provider.options.model, dict(provider.settings())
    request = Request(provider.adapter, model, PROMPT, 1, width, height, extra=extra)
    (drawing,) = provider.draw([request])
    if drawing.outcome is not Outcome.OK:
        return ProviderCheck(provider.name, drawing.outcome, drawing.outcome.value, drawing.message)
    billed = f"${drawing.cost_usd:g}" if drawing.cost_usd else "unknown price"
    return ProviderCheck(provider.name, Outcome.OK, f"drew a picture in {drawing.seconds:.1f} s, {billed}")
