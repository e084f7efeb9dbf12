"""What a served model is on disk: the checkpoint of a run, a base and its adapters, the names requests use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from medray.config.serve import ServeApp, ServedModel
from medray.errors import ConfigError, ModelError
from medray.models.adapters.folder import SETTINGS, base_of, is_adapter
from medray.models.fetching.catalogue import CATALOGUE
from medray.models.fetching.fetch import resolve_model
from medray.storage.run_folder import chosen_checkpoint

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Largest ranks vLLM can be set up for."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter on disk, under the name requests use."""

    name: str
    folder: Path
    rank: int


@dataclass(frozen=True, slots=True)
class Model:
    """A base model on disk (or a hub id), and the adapters served beside it."""

    name: str
    source: str
    adapters: tuple[Adapter, ...]

    @property
    def lora_rank(self) -> int:
        """The smallest rank vLLM can be set up for that holds every adapter."""
        rank = max((adapter.rank for adapter in self.adapters), default=1)
        return next((r for r in LORA_RANKS if r >= rank), rank)

    @property
    def max_positions(self) -> int | None:
        """Longest context its configuration speaks of; None where it does not say, or is on the hub."""
        try:
            config = json.loads((Path(self.source) / "config.json").read_text(encoding="utf-8"))
            return int((config.get("text_config") or config)["max_position_embeddings"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def quantisation(self) -> str | None:
        """How its weights are stored, e.g. bitsandbytes; None for whole ones, or on the hub."""
        try:
            config = json.loads((Path(self.source) / "config.json").read_text(encoding="utf-8"))
            return str(config["quantization_config"]["quant_method"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def names(self) -> tuple[str, ...]:
        """Every model name requests may use for it."""
        return (self.name, *(adapter.name for adapter in self.adapters))


def resolve(app: ServeApp) -> list[Model]:
    """Find every model of `app`.

    Raises:
        ModelError: a model or adapter is missing, or of a kind that cannot be served.
        ConfigError: two models have one name.
    """
    models = [resolve_served(model, f"models.{i}.path") for i, model in enumerate(app.models)]
    names = [name for model in models for name in model.names]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two models are named {name}: set models.N.name or adapters.N.name")
    return models


def find_model(path: str) -> Model:
    """The model of a path, with its one adapter where the path is an adapter or a run that trained one."""
    return resolve_served(ServedModel(path=path))


def resolve_served(model: ServedModel, key: str = "model") -> Model:
    """Find one model; what an adapter names as its base is served beneath it, under the base's own name.

    `key` is the setting that holds the model's path, which errors name.
    """
    found = locate(model.path, key)
    section = key.removesuffix("path")
    adapters = [
        _adapter(a.name or name_of(a.path), locate(a.path, f"{section}adapters.{i}.path"))
        for i, a in enumerate(model.adapters)
    ]
    if isinstance(found, Path) and is_adapter(found):
        base = base_of(found)
        adapters.insert(0, _adapter(model.name or name_of(model.path), found))
        name, found = name_of(base), locate(base, f"{key}={model.path}: its base")
        if isinstance(found, Path) and is_adapter(found):
            raise ModelError(
                f"{model.path} is an adapter of another adapter ({base}): merge them first (medray merge "
                f"{model.path} ...)"
            )
    else:
        name = model.name or name_of(model.path)
    if isinstance(found, Path):
        require_language_model(found)
    return Model(name, str(found), tuple(adapters))


def weight_bytes(source: Path | str) -> int:
    """Size of the weights' files; 0 for a hub id."""
    return sum(file.stat().st_size for file in Path(source).glob("*.safetensors"))


def locate(path: str, key: str = "model") -> Path | str:
    """The folder of a model, of an adapter, or of the checkpoint that stands for a run; a hub id unchanged.

    `key` is the setting that errors name.
    """
    found = resolve_model(path, key)
    if (
        isinstance(found, Path)
        and (found / "metrics.jsonl").is_file()
        and chosen_checkpoint(found) is None
    ):
        raise ModelError(
            f"{path} is a run without a checkpoint: wait until it has written its first one"
        )
    return found


def name_of(path: str) -> str:
    """The name a path is served under: a run's name, also where one of its checkpoints is given."""
    if path in CATALOGUE:
        return path
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path  # a hub id
    folder = folder.resolve()
    return folder.parent.parent.name if folder.parent.name == "checkpoints" else folder.name


def _adapter(name: str, folder: Path | str) -> Adapter:
    if not isinstance(folder, Path) or not is_adapter(folder):
        raise ModelError(f"adapter {name}: {folder} contains no adapter ({SETTINGS})")
    base_of(folder)  # readable
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        raise ModelError(
            f"adapter {name} does not belong to a language model ({settings['task_type']})"
        )
    for key, what in (("use_dora", "DoRA"), ("modules_to_save", "whole modules")):
        if settings.get(key):
            raise ModelError(
                f"adapter {name} trained {what}, which vLLM cannot load as an adapter: merge it first "
                f"(medray merge {folder} ...) and serve the result"
            )
    return Adapter(name, folder, int(settings.get("r", 16)))


def require_language_model(folder: Path) -> None:
    """Read the configuration and the headers of the weights.

    Raises:
        ModelError: no language model, or damaged.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architectures = config.get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder}: config.json cannot be read ({error})") from None
    if not any(a.endswith(("ForCausalLM", "ForConditionalGeneration")) for a in architectures):
        kind = ", ".join(architectures) or "no architecture in config.json"
        raise ModelError(
            f"{folder} is not a language model ({kind}): only language models can be served"
        )
    _require_whole_weights(folder)


def _require_whole_weights(folder: Path) -> None:
    """Read the headers: an engine would tell of a damaged file a minute later, and less clearly."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"{file} is damaged ({error}): copy or fetch the model again"
            ) from None
