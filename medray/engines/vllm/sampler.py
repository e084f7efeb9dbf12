"""Requests to an in-process vLLM engine, stepped by hand: started, cut for new weights, continued."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from medray.data.templates.registry import Stops, stops_of
from medray.engines.base import Generated, GroupFailed
from medray.engines.dialogue import Dialogues
from medray.engines.requests import Group, Sample, first_stop
from medray.engines.thoughts import Thoughts
from medray.errors import EnvironmentFailed
from medray.types import FinishReason, GenerateSpec, Prompt


class Sampler:
    """Samples groups on a `vllm.LLMEngine`; the engine's owner says under which version of the weights."""

    def __init__(
        self,
        engine: Any,
        stops: Stops,
        dialogues: Dialogues[Sample] | None = None,
        thoughts: Thoughts | None = None,
    ) -> None:
        """Sample on `engine`.

        Args:
            engine: a `vllm.LLMEngine`.
            stops: end a response besides the job's own and the model's stop token.
            dialogues: go on after a response.
            thoughts: says what of a response is visible.
        """
        self._engine = engine
        self._dialogues = dialogues
        self._stops = stops
        self._thoughts = thoughts or Thoughts()
        self._next_request = 0
        self._running: dict[str, Sample] = {}
        self._suspended: list[Sample] = []

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to compute."""
        return bool(self._running) or (self._dialogues is not None and self._dialogues.is_waiting)

    def submit(self, key: int, prompt: Prompt, seed: int, spec: GenerateSpec) -> None:
        """Begin to sample `spec.num_samples` responses to a prompt."""
        for sample in Group(key, prompt, seed, spec, thoughts=self._thoughts).samples:
            self._enter(sample)

    def step(self, version: int) -> list[Generated | GroupFailed]:
        """One step of the engine under weights `version`; returns the groups that became whole or failed."""
        ended: list[Sample] = []
        for output in self._engine.step():
            name = _plain_id(output.request_id, self._running)
            if (sample := self._running.get(name)) is None:
                continue
            if self._take(name, sample, output, version):
                ended.append(sample)
        more, failed = self._converse()
        ended += more
        groups = {id(sample.group): sample.group for sample in ended}.values()
        return [*failed, *(done for group in groups if (done := group.result(version)))]

    def abort(self) -> None:
        """Stop computing whatever is under way."""
        self._engine.abort_request(list(self._running))
        self._running.clear()
        self._suspended.clear()
        if self._dialogues is not None:
            self._dialogues.forget()

    def _give_up(self, group: Group) -> None:
        """Stop computing the other samples of a group that failed, suspended ones and pending turns included."""
        names = [name for name, sample in self._running.items() if sample.group is group]
        self._engine.abort_request(names)
        for name in names:
            del self._running[name]
        self._suspended = [sample for sample in self._suspended if sample.group is not group]
        if self._dialogues is not None:
            self._dialogues.forget(lambda sample: sample.group is group)

    def suspend(self, version: int) -> None:
        """Take every running response out of vLLM, with what it has."""
        # Read before the abort, which forgets the states; `step` has not returned these tokens yet, since requests ask
        # for their output at the end alone.
        states = self._engine.output_processor.request_states.values()
        partial = {_plain_id(s.external_req_id, self._running): s for s in states}
        self._engine.abort_request(list(self._running))
        for name, sample in self._running.items():
            state = partial[name]
            tokens = list(state.detokenizer.output_token_ids)
            logprobs = list(state.logprobs_processor.logprobs or [])[: len(tokens)]
            logp = [position[t].logprob for position, t in zip(logprobs, tokens, strict=True)]
            sample.extend(tokens, logp, version)
            sample.text = self._decode(sample.turn)
        self._suspended += self._running.values()
        self._running.clear()

    def untouched(self) -> tuple[int, ...]:
        """Keys of the groups under way that had no token when they were last taken out."""
        groups = {id(s.group): s.group for s in self._running.values()}.values()
        return tuple(g.key for g in groups if not any(s.versions for s in g.samples))

    def resume(self) -> None:
        """Put suspended responses back, in their order."""
        for sample in self._suspended:
            self._enter(sample)
        self._suspended.clear()

    def score(self, token_ids: Any, params: Any) -> Any:
        """The output of one request, alone in the engine."""
        assert not self._running, "responses are under way"
        self._submit(token_ids, params)
        while True:
            for output in self._engine.step():
                if output.finished:
                    return output

    def _enter(self, sample: Sample) -> None:
        spec, again = sample.group.spec, bool(sample.turn)
        stops = self._stops_of(spec)
        params = _sampling_params(
            spec, sample.seed, sample.tokens_left, stops, watched=again and bool(stops.texts)
        )
        self._running[self._submit(sample.token_ids, params)] = sample

    def _take(self, name: str, sample: Sample, output: Any, version: int) -> bool:
        """Note a request's output; True when its response is complete."""
        part = output.outputs[0]
        again = bool(sample.turn)  # it was cut: vLLM knows the text of the last part alone
        text, at = part.text, -1
        if again:
            text = self._decode([*sample.turn, *part.token_ids])
            stops = self._stops_of(sample.group.spec).texts
            at = first_stop(text, stops, len(sample.text))
        if not output.finished and at < 0:
            return False
        del self._running[name]
        if not output.finished:
            self._engine.abort_request([name])
        if not sample.tokens:
            sample.group.num_cached_tokens += output.num_cached_tokens or 0
        sample.extend(part.token_ids, _logps(part), version)
        reason: FinishReason = "stop" if at >= 0 else part.finish_reason
        if reason not in ("stop", "length"):
            raise RuntimeError(f"vLLM aborted a request: finish reason {reason}")
        text = text[:at] if at >= 0 else text
        if reason == "stop" and self._goes_on(sample, text):
            return False
        sample.finish(reason, text)
        return True

    def _goes_on(self, sample: Sample, text: str) -> bool:
        """Ask what the other side says to a turn that ended in `text`, if it may say anything."""
        if self._dialogues is None:
            return False
        sample.end_turn(text)
        if len(sample.turns) >= self._dialogues.max_turns or sample.tokens_left <= 0:
            return False
        self._dialogues.ask(sample, sample.group.prompt.record, sample.turns)
        return True

    def _converse(self) -> tuple[list[Sample], list[GroupFailed]]:
        """Continue dialogues whose environment has answered; returns those that are over, and groups that failed."""
        if self._dialogues is None:
            return [], []
        ended: list[Sample] = []
        failed: dict[int, GroupFailed] = {}
        for sample, said in self._dialogues.answered(idle=not self._running):
            group = sample.group
            if id(group) in failed:
                continue
            if isinstance(said, EnvironmentFailed):
                failed[id(group)] = GroupFailed(group.key, said)
                self._give_up(group)
            elif said is not None and sample.add_turn(said):
                self._enter(sample)
            else:
                sample.finish("stop" if said is None else "length")
                ended.append(sample)
        return ended, list(failed.values())

    def _stops_of(self, spec: GenerateSpec) -> Stops:
        if not spec.stop:
            return self._stops
        return stops_of(self._engine.get_tokenizer(), spec.stop).joined(self._stops)

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._engine.get_tokenizer().decode(list(tokens), skip_special_tokens=True)

    def _submit(self, token_ids: Any, params: Any) -> str:
        name = str(self._next_request)
        self._next_request += 1
        self._engine.add_request(name, {"prompt_token_ids": [int(t) for t in token_ids]}, params)
        return name


def _sampling_params(
    spec: GenerateSpec, seed: int, max_tokens: int, stops: Stops, *, watched: bool
) -> Any:
    """`watched` returns output after every step, to find stop strings that begin in an earlier part."""
    sampling = spec.sampling
    return request_params(
        watched=watched,
        max_tokens=max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        stop=list(stops.texts) or None,
        stop_token_ids=list(stops.token_ids) or None,
        seed=seed,
        logprobs=0,
    )


def request_params(*, watched: bool = False, **settings: Any) -> Any:
    """Build vLLM's sampling parameters; output is returned once, at the end, unless `watched`."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    kind = RequestOutputKind.CUMULATIVE if watched else RequestOutputKind.FINAL_ONLY
    return SamplingParams(output_kind=kind, **settings)


def _logps(part: Any) -> list[float]:
    return [
        position[token].logprob
        for position, token in zip(part.logprobs, part.token_ids, strict=True)
    ]


def _plain_id(request_id: str, known: Iterable[str]) -> str:
    """Return the name a request was submitted under; vLLM appends a random suffix (vllm-project/vllm#27987)."""
    return request_id if request_id in known else request_id.partition("-")[0]
