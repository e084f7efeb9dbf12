"""`build_app`: what serve_configs/*.yaml name in `import_path`, and what `medray serve` runs."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.llm import build_llm_deployment
from ray.serve.llm.ingress import make_fastapi_ingress
from starlette.middleware.cors import CORSMiddleware

from medray.config.loader import validated
from medray.config.serve import ServeApp
from medray.models.served import resolve
from medray.serve.engine import llm_config
from medray.serve.errors import add_handlers
from medray.serve.front import (
    LimitBody,
    LimitConcurrency,
    LimitHeaders,
    RecordRequests,
    RequireToken,
)
from medray.serve.ingress import ChatIngress
from medray.serve.replicas import EngineServer
from medray.serve.tokens import token_digests

ENDPOINTS = {
    "models": lambda app: app.get("/v1/models"),
    "model_data": lambda app: app.get("/v1/models/{model:path}"),
    "chat_completions": lambda app: app.post("/v1/chat/completions"),
    "text_completions": lambda app: app.post("/v1/completions"),
    "responses": lambda app: app.post("/v1/responses"),
    "tokenize": lambda app: app.post("/tokenize"),
    "detokenize": lambda app: app.post("/detokenize"),
    "health": lambda app: app.get("/health"),
    "ready": lambda app: app.get("/ready"),
}
STREAMS_PER_INGRESS = 100_000
"""Serve's own bound; ours answers 429 long before."""


def build_app(args: dict[str, Any]) -> Application:
    """The application for `args`, a `ServeApp` as plain values.

    Raises:
        ConfigError: a setting is wrong, or there is no token.
        ModelError: a model cannot be found or served.
    """
    app = validated(ServeApp, args)
    models = resolve(app)
    digests = token_digests(app.auth, create=True)
    engines = [
        llm_config(served, model, max_new_tokens=app.limits.max_new_tokens)
        for served, model in zip(app.models, models, strict=True)
    ]
    ingress = make_fastapi_ingress(ChatIngress, endpoint_map=ENDPOINTS, app=front(app, digests))
    drain_s = max(served.replicas.drain_s for served in app.models)
    deployment: Any = serve.deployment(
        ingress,
        name="ChatIngress",
        num_replicas=app.ingress_replicas,
        max_ongoing_requests=STREAMS_PER_INGRESS,
        max_surge_percent=100,
        graceful_shutdown_timeout_s=drain_s,
        graceful_shutdown_wait_loop_s=1.0,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(
        llm_deployments={
            e.model_id: build_llm_deployment(e, deployment_cls=EngineServer) for e in engines
        },
        model_cards={e.model_id: _card(e) for e in engines},
        settings=app.model_dump(mode="json"),
        adapters={a.name: model.name for model in models for a in model.adapters},
        tokenizers={
            model.name: (model.source, served.trust_remote_code)
            for served, model in zip(app.models, models, strict=True)
        },
    )


def front(app: ServeApp, digests: tuple[str, ...]) -> FastAPI:
    """An app without routes yet; the middleware added last is the outermost."""
    front_app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_handlers(front_app)
    limits = app.limits
    front_app.add_middleware(LimitConcurrency, max_concurrent=limits.max_concurrent)
    front_app.add_middleware(LimitBody, max_bytes=limits.max_body_bytes, read_s=limits.read_s)
    front_app.add_middleware(RequireToken, digests=digests)
    front_app.add_middleware(LimitHeaders, max_bytes=limits.max_header_bytes)
    if app.cors.origins:
        front_app.add_middleware(
            CORSMiddleware,  # before the token: a browser's OPTIONS brings none
            allow_origins=app.cors.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-Id", "Retry-After"],
        )
    front_app.add_middleware(RecordRequests, path=app.access_log)
    return front_app


def _card(config: Any) -> Any:
    from ray.llm._internal.serve.core.configs.openai_api_models import to_model_metadata

    return to_model_metadata(config.model_id, config)
