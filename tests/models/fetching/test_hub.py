"""A hub id is refused before anything starts, where the hub does not give it."""

from __future__ import annotations

import pytest

from medray.errors import ModelError
from medray.models.fetching.hub import require_on_hub


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody/nothing", "k=nobody/nothing: .*the hub cannot be reached .no network"),
        ("no such//id", "no such folder, and no hub id"),
    ],
)
def test_an_id_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    def absent(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", absent)
    with pytest.raises(ModelError, match=said):
        require_on_hub(name, "k")


def test_an_id_that_the_hub_has(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda _, name, **__: asked.append(name)
    )
    require_on_hub("nobody/nothing", "k")
    assert asked == ["nobody/nothing"]
