"""What a rollout engine is sampling: groups of requests, each of which may outlive the weights it began under.

A request that is cut by a weight update keeps its tokens, their log-probabilities and the version each was drawn
under; it goes on as a new request whose prompt ends with those tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from medray.engines.base import Generated
from medray.engines.dialogue import EnvironmentTurn
from medray.engines.thoughts import Thoughts
from medray.types import FinishReason, GenerateSpec, Message, Prompt, Response


@dataclass
class Sample:
    """One response being generated: tokens, log-probabilities and policy versions so far."""

    group: Group
    number: int  # of the response in its group
    tokens: list[int] = field(default_factory=list[int])
    logp: list[float] = field(default_factory=list[float])
    versions: list[int] = field(default_factory=list[int])
    sampled: list[bool] = field(default_factory=list[bool])
    turn_start: int = 0  # of the policy's present turn, in tokens
    text: str = ""  # of the present turn so far, filled when the sample is cut
    opened: bool = False  # the present turn began within a thought
    said: str = ""  # the last turn that is over, thoughts included
    dialogue: list[Message] = field(default_factory=list[Message])  # turns that are over
    response: Response | None = None

    @property
    def token_ids(self) -> list[int]:
        """The prompt and what was sampled so far."""
        return [*(int(t) for t in self.group.prompt.token_ids), *self.tokens]

    @property
    def turn(self) -> list[int]:
        """The tokens of the policy's present turn so far."""
        return self.tokens[self.turn_start :]

    @property
    def turns(self) -> list[str]:
        """What the policy has said in turns that are over, without its thoughts."""
        return [str(m["content"]) for m in self.dialogue if m["role"] == "assistant"]

    @property
    def seed(self) -> int:
        """Of the coming part: another one after every cut, or it would repeat the first draws."""
        first = self.group.seed + self.number
        if not self.tokens:
            return first
        return int(np.random.SeedSequence([first, len(self.tokens)]).generate_state(1)[0] >> 1)

    @property
    def tokens_left(self) -> int:
        """How many more tokens may come."""
        return self.group.spec.max_new_tokens - len(self.tokens)

    def extend(self, tokens: Sequence[int], logp: Sequence[float], version: int) -> None:
        """Add a part drawn under one version."""
        self.tokens += tokens
        self.logp += logp
        self.versions += [version] * len(tokens)
        self.sampled += [True] * len(tokens)

    def end_turn(self, text: str) -> None:
        """Note that the policy has said `text`."""
        visible = self.group.thoughts.visible(text, self.turn, opened=self.opened)
        self.dialogue.append({"role": "assistant", "content": visible})
        self.turn_start, self.text, self.said = len(self.tokens), "", text

    def add_turn(self, said: EnvironmentTurn) -> bool:
        """Add the other side's turn, and the stop token where the policy's lacks it; False when there is no room."""
        tokens = list(said.token_ids)
        if not self.tokens or self.tokens[-1] != said.stop_token:
            tokens.insert(0, said.stop_token)
        if len(tokens) >= self.tokens_left:
            return False
        self.tokens += tokens
        self.logp += [0.0] * len(tokens)
        self.versions += [self.versions[-1]] * len(tokens)
        self.sampled += [False] * len(tokens)
        self.dialogue.append({"role": "user", "content": said.text})
        self.turn_start = len(self.tokens)
        self.opened = self.group.thoughts.opened_by(said.token_ids)
        return True

    def finish(self, reason: FinishReason, text: str | None = None) -> None:
        """Close the response, with the `text` of the turn under way; per-token versions are kept where several are."""
        several = len(set(self.versions)) > 1
        many = not all(self.sampled)
        if text is not None and (self.turn or not self.dialogue):
            self.end_turn(text)
        self.response = Response(
            np.asarray(self.tokens, dtype=np.int32),
            np.asarray(self.logp, dtype=np.float32),
            self.said,
            reason,
            np.asarray(self.versions, dtype=np.int32) if several else None,
            np.asarray(self.sampled, dtype=np.bool_) if many else None,
            tuple(self.dialogue) if many else (),
            self.turns[-1],
        )


@dataclass
class Group:
    """All samples of one prompt."""

    key: int
    prompt: Prompt
    seed: int
    spec: GenerateSpec
    samples: list[Sample] = field(default_factory=list[Sample])
    num_cached_tokens: int = 0
    thoughts: Thoughts = field(default_factory=Thoughts)

    def __post_init__(self) -> None:
        opened = self.thoughts.opened_by(self.prompt.token_ids)
        self.samples = [Sample(self, i, opened=opened) for i in range(self.spec.num_samples)]

    def result(self, version: int) -> Generated | None:
        """The whole group once every sample is finished; `version` is of the weights it ended under."""
        responses = [s.response for s in self.samples if s.response is not None]
        if len(responses) < len(self.samples):
            return None
        drawn = [v for s in self.samples for v in s.versions] or [version]
        return Generated(self.key, tuple(responses), self.num_cached_tokens, min(drawn), max(drawn))


def first_stop(text: str, stops: Sequence[str], start: int) -> int:
    """Where the earliest stop string that ends after `start` begins; -1 when none does."""
    found = [at for stop in stops if (at := text.find(stop, max(0, start - len(stop) + 1))) >= 0]
    return min(found, default=-1)
