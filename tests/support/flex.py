"""FlexAttention where there is no GPU: PyTorch's reference implementation, whose gradients it refuses on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch.nn.attention import flex_attention

from medray.models.attention import flex
from medray.models.packed import PolicyModel


@contextmanager
def on_cpu() -> Iterator[None]:
    """Within this context the reference implementation carries gradients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flex_attention, "_validate_device", lambda *_: None)
        yield


def with_flex(policy: PolicyModel) -> PolicyModel:
    """The policy, sharing prompts by FlexAttention whatever its device."""
    policy.module.set_attn_implementation(flex.FLEX)
    policy.sharing = "flex"
    return policy
