"""`build_app`: the page as a Ray Serve application of its own, beside the service it talks to."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from medray.config.loader import validated
from medray.config.web import WebApp
from medray.errors import ConfigError
from medray.serve.loopback import keep_replica_on_loopback
from medray.serve.tokens import matching, token_digests
from medray.serve.web.ratings import Ratings

keep_replica_on_loopback()  # before Serve opens the replica's port

STREAMS = 1000
LOG_IN = (
    "Enter any user name (it must not be empty); the password is the service's token. "
    "用户名任意，但不能为空；密码是服务的令牌。"
)


def build_app(args: dict[str, Any]) -> Application:
    """The application for `args`, a `WebApp` as plain values."""
    settings = validated(WebApp, args)
    require_gradio()
    digests = token_digests(settings.auth, create=True)
    deployment: Any = serve.deployment(  # one replica: Gradio keeps its sessions in memory
        serve.ingress()(WebChat),
        name="WebChat",
        max_ongoing_requests=STREAMS,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(settings.model_dump(mode="json"), digests)


def require_gradio() -> None:
    """Say how to install what the page needs.

    Raises:
        ConfigError: Gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the web chat needs Gradio: pip install --no-deps -r constraints/web.txt")


class WebChat:
    """The replica that serves the page."""

    def __init__(self, settings: dict[str, Any], digests: tuple[str, ...]) -> None:
        self._settings = WebApp.model_validate(settings)
        self._digests = digests

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Asked for by Ray Serve once the replica is up."""
        return page_app(self._settings, self._digests)


def page_app(settings: WebApp, digests: tuple[str, ...]) -> FastAPI:
    """The page as an ASGI application; whoever it lets in has shown a token of the service."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr  # pyright: ignore[reportMissingImports]

    from medray.serve.web.page import CSS, THEME, Page

    users = Users(settings.url, digests)
    ratings = None if settings.ratings is None else Ratings(Path(settings.ratings).expanduser())
    blocks = Page(users.client_of, language=settings.language, ratings=ratings).blocks
    blocks.queue(default_concurrency_limit=STREAMS)
    return gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        auth=users.log_in if digests else None,
        auth_message=LOG_IN,
        theme=THEME,
        css=CSS,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
    )


class Users:
    """Who has logged in with which token; in this process's memory alone."""

    def __init__(self, url: str, digests: tuple[str, ...]) -> None:
        self._url = url
        self._digests = digests
        self._clients: dict[str | None, Any] = {}

    def log_in(self, user: str, password: str) -> bool:
        """Whether the password is a token of the service."""
        if matching(password, self._digests) is None:
            return False
        self._clients[user] = self._client(password)
        return True

    def client_of(self, user: str | None) -> Any:
        """The OpenAI client of a user; without authentication one for all."""
        if user not in self._clients:
            self._clients[user] = self._client("none")
        return self._clients[user]

    def _client(self, token: str) -> Any:
        from openai import AsyncOpenAI

        return AsyncOpenAI(base_url=self._url, api_key=token)
