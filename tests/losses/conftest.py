"""Shape checks on every call into medray.losses, one thread, and the path of the golden
references."""

import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

jaxtyping.install_import_hook("medray.losses", "beartype.beartype")
sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
