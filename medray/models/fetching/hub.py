"""Whether a model is on the model hub or in its cache, asked before anything heavy is imported."""

from __future__ import annotations

from medray.errors import ModelError, first_line
from medray.system.deadline import within

ASK_S = 5.0
_FILES = ("config.json", "adapter_config.json")
_REMEDY = "name a folder that exists, a catalogue model (medray fetch-model --list) or a hub id"


def require_on_hub(name: str, key: str, revision: str | None = None) -> None:
    """Check that a hub id can be loaded: from the local cache, or from the hub.

    Args:
        name: the id, `owner/name`.
        key: the setting that errors name.
        revision: commit, branch or tag; None takes the default branch.

    Raises:
        ModelError: it is in neither, or the hub does not answer within `ASK_S` seconds.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        if any(isinstance(try_to_load_from_cache(name, f, revision=revision), str) for f in _FILES):
            return
    except HFValidationError:
        raise ModelError(f"{key}={name}: no such folder, and no hub id: {_REMEDY}") from None
    match _ask(name, revision):
        case None:
            return
        case RepositoryNotFoundError():
            raise ModelError(
                f"{key}={name}: no such folder, and the hub has no such model (private ones need HF_TOKEN): {_REMEDY}"
            )
        case RevisionNotFoundError():
            raise ModelError(f"{key}={name}: the hub has no revision {revision} of it")
        case HfHubHTTPError():
            return  # the hub is there: loading the model tells what is wrong with it
        case error:
            raise ModelError(
                f"{key}={name}: no such folder, not in the cache of the hub, and the hub cannot be reached "
                f"({first_line(error)}): {_REMEDY} that can be reached"
            )


def _ask(name: str, revision: str | None) -> Exception | None:
    """What the hub says of a model; None for a model that is there."""
    from huggingface_hub import HfApi

    try:
        within(ASK_S, lambda: HfApi().model_info(name, revision=revision, timeout=ASK_S))
    except Exception as error:  # whatever it is, the caller says it
        return error
    return None
