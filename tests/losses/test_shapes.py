"""A wrong rank or length fails by the name of the argument when shapes are checked."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import jaxtyping
import pytest
import torch

import medray

PREFIX = "medray.losses"


@pytest.fixture(scope="module")
def checked() -> Iterator[dict[str, ModuleType]]:
    """The modules loaded afresh under the hook, whoever imported them before."""
    package = sys.modules.get(PREFIX)
    before = {n: sys.modules.pop(n) for n in list(sys.modules) if n.startswith(PREFIX)}
    names = ["policy", "reduce", "kl", "logprobs", "value", "preference", "gae"]
    with jaxtyping.install_import_hook(PREFIX, "beartype.beartype"):
        yield {name: importlib.import_module(f"{PREFIX}.{name}") for name in names}
    for name in [n for n in sys.modules if n.startswith(PREFIX)]:
        del sys.modules[name]
    sys.modules.update(before)
    if package is not None:
        medray.losses = package  # type: ignore[attr-defined]


N, ROW = torch.zeros(3), torch.zeros(3, 1)
INDEX, LENGTHS = torch.zeros(3, dtype=torch.int64), torch.tensor([3])


@pytest.mark.parametrize(
    ("module", "function", "arguments", "name"),
    [
        ("policy", "clipped_policy_loss", (N, N, ROW, 0.2, 0.2), "advantage"),
        ("policy", "clipped_policy_loss", (N, torch.zeros(2), N, 0.2, 0.2), "behaviour_logp"),
        ("policy", "gspo_loss", (N, N, N, INDEX[:, None], LENGTHS, 0.2, 0.2), "sequence_index"),
        ("kl", "k3", (N, ROW), "ref_logp"),
        ("logprobs", "token_logprobs", (N, torch.zeros(5, 1), INDEX), "hidden"),
        ("logprobs", "token_logprobs", (ROW, torch.zeros(5, 2), INDEX), "weight"),
        ("logprobs", "token_logprobs", (ROW, torch.zeros(5, 1), N), "targets"),
        ("value", "clipped_value_loss", (N, N, ROW, 0.2), "returns"),
        ("preference", "dpo_loss", (ROW, 0.1), "margin"),
        ("gae", "gae", (N, ROW, LENGTHS, 1.0, 1.0), "values"),
        ("reduce", "sequence_sums", (ROW, INDEX, 1), "per_token"),
    ],
)
def test_the_argument_is_named(checked, module, function, arguments, name) -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match=f"parameter '{name}'"):
        getattr(checked[module], function)(*arguments)
