"""LLM judges: models behind an OpenAI-compatible URL that grade answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from medray.config.base import MayBeBlank, Seconds, Section, Seed


class JudgeConfig(Section):
    """One judge: where it is, how it is asked, and what is done when it fails."""

    name: str = "judge"
    """Name in logs and messages; that of its key in `judges`."""
    url: str
    """Address of the API, with its version: http://HOST:8000/v1."""
    model: str
    """Model to ask for."""
    api_key_variable: Annotated[str | None, MayBeBlank()] = None
    """Environment variable that holds the API key, on the machine of the grader; null sends none."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling."""
    seed: Seed | None = None
    """Seed that is sent with each request; null sends none."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longest answer, in tokens."""
    structured: bool = False
    """Send the JSON schema of the verdict as `response_format`; vLLM then samples nothing else."""
    concurrency: int = Field(default=16, ge=1)
    """Requests under way at once, per grader process."""
    timeout_s: Seconds = 60.0
    """Longest time of one request, in seconds."""
    deadline_s: Seconds = 300.0
    """Longest time of one judgment with its retries, in seconds, counted from its first request."""
    retries: int = Field(default=4, ge=0)
    """Further requests after a timeout, a lost connection, a status 429, or one from 500 on."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Wait before the first retry, doubled with each; a longer Retry-After of the server is kept."""
    repairs: int = Field(default=2, ge=0)
    """Number of times that the judge is asked again after an answer that is not the JSON asked for."""
    cache: Annotated[str | None, MayBeBlank()] = None
    """Folder of verdicts; a request that was answered before is not sent again. null keeps none."""

    @field_validator("url")
    @classmethod
    def _url_is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{value} is no URL: write http://HOST:PORT/v1")
        return value.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _name_is_known(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(
                f"{value!r} is not in judges: name one of them, or write url and model here"
            )
        return value


def with_judges(settings: Any) -> Any:
    """The settings of a job, with the name of a judge in a reward's options replaced by that judge's own settings."""
    if not isinstance(settings, Mapping):
        return settings
    job = cast("Mapping[str, Any]", settings)
    judges, rewards = job.get("judges"), job.get("rewards")
    if not isinstance(judges, Mapping) or not isinstance(rewards, list | tuple):
        return job
    known = cast("Mapping[str, Any]", judges)
    return {**job, "rewards": [_named(reward, known) for reward in cast("list[Any]", rewards)]}


def _named(reward: Any, judges: Mapping[str, Any]) -> Any:
    if not isinstance(reward, Mapping):
        return reward
    term = cast("Mapping[str, Any]", reward)
    options = term.get("options")
    name = cast("Mapping[str, Any]", options).get("judge") if isinstance(options, Mapping) else None
    if not isinstance(name, str) or name not in judges:
        return term
    own = judges[name]
    settings = own.model_dump() if isinstance(own, JudgeConfig) else own
    if not isinstance(settings, Mapping):
        return term
    judge = {"name": name, **cast("Mapping[str, Any]", settings)}
    return {**term, "options": {**cast("Mapping[str, Any]", options), "judge": judge}}
