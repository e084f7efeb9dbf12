"""Values that cross process boundaries.

Frozen dataclasses over numpy arrays and builtins: cheap to pickle, read without a copy from Ray's object
store, and free of torch. Axis letters: T tokens of one sequence, G responses of one prompt, N trained
tokens of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from medray.thoughts import visible_text

TokenIds = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Column = npt.NDArray[np.float32 | np.int64]
"""What is known of tokens: a number each [T], or a list of numbers or of token ids each [T, K]."""
UNSAID = "\0unsaid"
"""Default of a text that is derived from another."""
FinishReason = Literal["stop", "length", "abort"]


Role = Literal["system", "user", "assistant", "tool"]
Tool = Mapping[str, object]
"""A function the model may call: `name`, `description`, `parameters` (a JSON schema)."""


class ToolCall(TypedDict):
    """One function the assistant asks for; `arguments` is a JSON object."""

    name: str
    arguments: Mapping[str, object]


class Message(TypedDict):
    """One turn of a chat.

    A chain of thought stands inside `content`, between `<think>` and `</think>`. `tool_calls` is only on
    assistant turns, whose `content` may then be empty. `trained` is only on assistant turns and says
    whether their tokens are; absent means yes. `name` is only on tool turns: whose result this is, when known.
    """

    role: Role
    content: str
    tool_calls: NotRequired[tuple[ToolCall, ...]]
    trained: NotRequired[bool]
    name: NotRequired[str]


class Step(TypedDict):
    """One step of a solution; `label` is the probability that it is right, absent where nobody labelled it."""

    content: str
    label: NotRequired[float]


@dataclass(frozen=True, slots=True)
class Record:
    """The canonical row every dataset schema is turned into; which fields are filled says what it can train.

    - pretraining: `text`;
    - supervised fine-tuning: `messages`, with at least one assistant turn;
    - preferences: `messages` is the prompt, `chosen` and `rejected` are two ways to continue it;
    - unpaired preferences (KTO): the prompt, and only one of the two (see `label`);
    - process rewards: `messages` is the prompt, `steps` are the assistant's answer to it, each with its label;
    - reinforcement learning: `messages` ends before the assistant's turn, and `answer` or a rubric in
      `extra` says what is right.

    `group_id` names what must stay on one side of a split (a patient, a case, a code); `answer` is the
    gold answer in the form the reward expects (for a choice: its letters, "B" or "ABD"). `margin` is by how
    much `chosen` was rated better, 0 when the data do not say. Values in `extra` are JSON values.
    """

    id: str
    messages: tuple[Message, ...]
    answer: str = ""
    options: tuple[str, ...] = ()
    task: str = ""
    lang: str = "en"
    source: str = ""
    licence: str = ""
    group_id: str = ""
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    tools: tuple[Tool, ...] = ()
    chosen: tuple[Message, ...] = ()
    rejected: tuple[Message, ...] = ()
    margin: float = 0.0
    text: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def label(self) -> bool | None:
        """For an unpaired preference, whether its continuation is desirable; None for all other records."""
        if bool(self.chosen) == bool(self.rejected):
            return None
        return bool(self.chosen)

    @property
    def turns(self) -> tuple[Message, ...]:
        """The prompt's turns, then those of every continuation; steps are one turn of the assistant."""
        solution: tuple[Message, ...] = ()
        if self.steps:
            text = "\n\n".join(step["content"] for step in self.steps)
            solution = ({"role": "assistant", "content": text},)
        return (*self.messages, *self.chosen, *self.rejected, *solution)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A record ready for the policy: its chat rendered once, up to the assistant's first token."""

    record: Record
    token_ids: TokenIds  # [T]


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled answer, or the rest of a dialogue. `token_ids` ends with the stop token when it stopped by itself.

    In a dialogue of several turns `token_ids` also holds what the other side said, False in `sampled`; `text` is the
    policy's last turn and `dialogue` all of them, without thoughts. Whoever judges or answers a response reads
    `visible_text` and `dialogue`: a thought is not an answer. The engine sets `visible_text`, because it knows whether
    the prompt opened a thought; by default it is the text without `<think>` blocks.
    """

    token_ids: TokenIds  # [T]
    logp: Floats  # [T] nats, under the policy and the temperature that sampled each token; 0 where it did not
    text: str
    finish_reason: FinishReason
    versions: TokenIds | None = None  # [T] of the policy that sampled each token, where they differ
    sampled: npt.NDArray[np.bool_] | None = None  # [T]; None: all of them
    dialogue: tuple[
        Message, ...
    ] = ()  # the turns after the prompt, where there are several, without thoughts
    visible_text: str = UNSAID  # `text` without thoughts

    def __post_init__(self) -> None:
        if self.visible_text == UNSAID:
            object.__setattr__(self, "visible_text", visible_text(self.text))

    @property
    def num_sampled(self) -> int:
        """Tokens that the policy chose: the ones that are trained."""
        return len(self.token_ids) if self.sampled is None else int(self.sampled.sum())

    @property
    def sampled_logp(self) -> Floats:
        """`logp` [N] of those tokens."""
        return self.logp if self.sampled is None else self.logp[self.sampled]


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All G responses to one prompt, sampled under one policy version or, with updates in flight, several."""

    prompt: Prompt
    responses: tuple[Response, ...]
    policy_version: int  # the oldest that sampled any of the tokens
    worker: str = ""


@dataclass(frozen=True, slots=True)
class GroupMeta:
    """What the driver sees of a `RolloutGroup`: sizes and origin, never tokens."""

    prompt_id: str
    num_prompt_tokens: int
    num_response_tokens: tuple[int, ...]  # [G]
    num_stopped: int
    policy_version: int  # the oldest that sampled any of the tokens
    worker: str
    num_cached_tokens: int = 0
    newest_version: int = -1  # -1: all tokens are of policy_version
    num_environment_tokens: tuple[
        int, ...
    ] = ()  # [G] of each response, tokens the policy did not choose; (): none
    truncated: tuple[bool, ...] = ()  # [G] whether the length limit ended each response; (): none

    def only(self, kept: Sequence[int]) -> GroupMeta:
        """Return the sizes of a part of the group, some of its responses."""
        if len(kept) == len(self.num_response_tokens):
            return self
        return replace(
            self,
            num_response_tokens=tuple(self.num_response_tokens[g] for g in kept),
            num_environment_tokens=tuple(self.num_environment_tokens[g] for g in kept)
            if self.num_environment_tokens
            else (),
            truncated=tuple(self.truncated[g] for g in kept) if self.truncated else (),
        )

    @property
    def num_sampled_tokens(self) -> int:
        """Tokens that the policy chose: the ones that are trained."""
        return sum(self.sampled_lengths)

    @property
    def sampled_lengths(self) -> tuple[int, ...]:
        """Those tokens of each response [G]: what a response's length is where the policy answers for it."""
        if not self.num_environment_tokens:
            return self.num_response_tokens
        pairs = zip(self.num_response_tokens, self.num_environment_tokens, strict=True)
        return tuple(total - theirs for total, theirs in pairs)

    @property
    def num_tokens(self) -> int:
        """Tokens the learner computes for this group: the prompt once, every response once."""
        return self.num_prompt_tokens + sum(self.num_response_tokens)


class ResponseKl(NamedTuple):
    """Estimate of one response's KL to the reference, nats: its sum, and what follows each token."""

    total: float
    to_go_mean: float  # over tokens t, of the sum from t to the end
    to_go_variance: float  # over the same, divided by their number


@dataclass(frozen=True, slots=True)
class GroupScore:
    """A grader's rewards for one group: one per response, and the parts each is made of."""

    rewards: tuple[float, ...]  # [G]
    parts: Mapping[str, tuple[float, ...]] = field(
        default_factory=dict[str, tuple[float, ...]]
    )  # name -> [G]


@dataclass(frozen=True, slots=True)
class Continuation:
    """Tokens that follow a shared prompt, which of them are trained, and per-token columns.

    Every column has one row per token of the continuation; those of untrained tokens are ignored.
    """

    token_ids: TokenIds  # [T]
    trained: npt.NDArray[np.bool_]  # [T]
    columns: Mapping[str, Column] = field(
        default_factory=dict[str, Column]
    )  # name -> [T] or [T, K]


@dataclass(frozen=True, slots=True)
class TopTokens:
    """A teacher's K most likely tokens at each of N that a policy sampled, and their log-probabilities (nats)."""

    ids: TokenIds  # [N, K]
    logp: Floats  # [N, K]


@dataclass(frozen=True, slots=True)
class PromptTree:
    """The learner's unit of data: a prompt computed once, and the continuations that share it.

    G continuations in GRPO and PPO, two in DPO and reward modelling, one in SFT; an empty prompt and one
    continuation in pretraining.
    """

    prompt_ids: TokenIds  # [T]
    continuations: tuple[Continuation, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens computed: the prompt once, every continuation once."""
        return len(self.prompt_ids) + sum(len(c.token_ids) for c in self.continuations)


@dataclass(frozen=True, slots=True)
class StepTotals:
    """Denominators of one optimizer step, counted over all micro-batches and all ranks."""

    num_tokens: int
    num_sequences: int
    num_groups: int


@dataclass(frozen=True, slots=True)
class SamplingContract:
    """How tokens are drawn, read alike by the engine that samples and the learner that scores.

    The learner divides logits by `temperature`; the other fields must be neutral for training, since a
    truncated distribution cannot be rebuilt from the learner's logits.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


@dataclass(frozen=True, slots=True)
class GenerateSpec:
    """One order to an engine: how many responses a prompt, how long, drawn how."""

    sampling: SamplingContract
    num_samples: int
    max_new_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Shape and dtype ("float32", "bfloat16", ...) of one tensor of a model."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, tensor: Any) -> TensorInfo:
        """Describe a torch tensor by shape and dtype."""
        return cls(tuple(tensor.shape), dtype_name(tensor.dtype))


def dtype_name(dtype: Any) -> str:
    """A torch dtype without its prefix: "bfloat16"."""
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class Probe:
    """A fixed text with the learner's log-probabilities, against which an engine proves its weights.

    `logp[i]` is the learner's log-probability (temperature 1) of `token_ids[i + 1]` after `token_ids[: i + 1]`.
    """

    token_ids: TokenIds  # [T]
    logp: Floats  # [T - 1]


@dataclass(frozen=True, slots=True)
class WeightManifest:
    """What one weight version consists of: the promise that an engine checks a delivery against."""

    version: int
    tensors: Mapping[str, TensorInfo]
    probe: Probe
