from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medray.data.templates.registry import Stops
from medray.engines.vllm.sampler import Sampler, _sampling_params
from medray.types import GenerateSpec, Prompt, Record, SamplingContract
from tests.support.chats import byte_tokenizer

pytestmark = pytest.mark.ray


def test_the_templates_stops_join_those_asked_for() -> None:
    spec = GenerateSpec(
        num_samples=1, max_new_tokens=4, sampling=SamplingContract(), stop=("\n\n",)
    )
    params = _sampling_params(spec, 3, 4, Stops((5, 6), ("\n\n", "<eoa>")), watched=False)
    assert params.stop == ["\n\n", "<eoa>"]
    assert params.stop_token_ids == [5, 6]
    bare = _sampling_params(spec, 3, 4, Stops((), ("\n\n",)), watched=False)
    assert bare.stop == ["\n\n"]
    assert not bare.stop_token_ids


def test_a_stop_string_that_is_a_special_token_goes_to_vllm_as_its_id() -> None:
    """VLLM leaves special tokens out of the text that it searches for stop strings."""

    class Engine:
        asked: Any = None

        def get_tokenizer(self) -> Any:
            return byte_tokenizer("<|im_start|>")

        def add_request(self, name: str, prompt: Any, params: Any) -> None:
            self.asked = params

    engine = Engine()
    spec = GenerateSpec(SamplingContract(), 1, 4, ("<|im_start|>", "\n\n"))
    Sampler(engine, Stops((5,), ("<eoa>",))).submit(
        0, Prompt(Record("a", ()), np.arange(3, dtype=np.int32)), 3, spec
    )
    start = engine.get_tokenizer().convert_tokens_to_ids("<|im_start|>")
    assert engine.asked.stop_token_ids == [start, 5]
    assert engine.asked.stop == ["\n\n", "<eoa>"]
