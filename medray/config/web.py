"""The web chat."""

from __future__ import annotations

from typing import Literal

from medray.config.base import Section
from medray.config.serve import AuthConfig


class WebApp(Section):
    """A page that talks to a service."""

    url: str = "http://127.0.0.1:8000/v1"
    """The service's address, as the page's own process reaches it."""
    language: Literal["en", "zh"] = "en"
    """The page's first language; a switch on it changes it."""
    ratings: str | None = None
    """Folder for rated answers, as rows that `data.path` reads; None shows no thumbs and stores nothing."""
    auth: AuthConfig = AuthConfig()
    """The service's. A user logs in with any name and the token as the password."""
