from __future__ import annotations

import pytest

from medray.data.templates.registry import Stops
from medray.engines.vllm.sampler import _sampling_params
from medray.types import GenerateSpec, SamplingContract

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
