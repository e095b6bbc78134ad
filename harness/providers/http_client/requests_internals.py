"""What requests keeps to itself and the transport needs: its adapter with our connections, trusting whom we say."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from harness.providers.http_client.urllib3_internals import POOLS


class Adapter(HTTPAdapter):
    """Requests' adapter with our connections; certificates are always checked, against our context."""

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, True, None)
        secure = host["scheme"] == "https"
        return host, {"ssl_context": self._context(), "cert_reqs": "CERT_REQUIRED"} if secure else {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context says all; requests would add to it."""


class Client(requests.Session):
    """One thread's connections. No cookies, no .netrc, no redirects; only the configured key is ever sent."""

    def __init__(self, context: Callable[[], ssl.SSLContext], proxies: bool) -> None:
        super().__init__()
        self.trust_env = proxies
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in POOLS:
            self.mount(f"{scheme}://", Adapter(context))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: requests would read the whole body of a redirect, however large."""
        return None
