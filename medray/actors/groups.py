"""The one handle of a group of responses, from the request to the update.

Nine shapes carry a group from prompt to loss, each with one owner:

    Prompt          a rendered record                          data, the training loop
    Request         a prompt with its seed and sampling         -> rollout worker
    RolloutGroup    the tokens and their log-probabilities     object store
    GroupMeta       their sizes and versions, no token         -> training loop
    GroupScore      rewards and their parts                    -> training loop
    GroupHandle     all the training loop knows of a group     training loop
    TrainItem       where a group's tensors lie                -> learner and critic ranks
    PromptTree      prompt and continuations, with columns     a rank
    PackedRow       trees in one row of tokens                 a rank

The collector fills a handle in as results arrive. Tokens, log-probabilities, values and a teacher's tokens stay in the
object store: the handle holds references, which ranks resolve for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medray.actors.ray_calls.wait import Ref
from medray.types import Floats, GenerateSpec, GroupMeta, GroupScore, Prompt, ResponseKl


@dataclass(frozen=True)
class Request:
    """Prompt, seed and sampling settings of one group; immutable, sent to a rollout worker."""

    ticket: int  # the driver's key for the group
    prompt: Prompt
    seed: int
    spec: GenerateSpec


@dataclass(eq=False)
class GroupHandle:
    """A group from request to update; fields are filled in as results arrive.

    Invariant: `on_sampled` sets `tokens` and `meta` together, before `score` is set. The driver reads sizes, versions
    and rewards, and never fetches a token.
    """

    request: Request
    is_dropped: bool = False  # no grader could score it, and the job continues without it
    tokens: Ref | None = None  # RolloutGroup
    reference: Ref | None = None  # the reference model's log-probabilities, per response
    reference_kl: tuple[ResponseKl, ...] = ()  # [G]
    values: Ref | None = None  # the critic's, per response
    teacher_tokens: Ref | None = None  # a teacher's most likely tokens, per response
    _meta: GroupMeta | None = None
    _score: GroupScore | None = None

    @property
    def ticket(self) -> int:
        """Key of the group in the rollout pool."""
        return self.request.ticket

    @property
    def prompt(self) -> Prompt:
        """The prompt that the group answers."""
        return self.request.prompt

    @property
    def meta(self) -> GroupMeta:
        """Sizes and versions of a sampled group."""
        assert self._meta is not None, f"prompt {self.prompt.record.id} is not sampled yet"
        return self._meta

    @property
    def score(self) -> GroupScore:
        """Rewards of a scored group."""
        assert self._score is not None, f"prompt {self.prompt.record.id} is not scored yet"
        return self._score

    def on_sampled(self, tokens: Ref, meta: GroupMeta) -> None:
        """Record where the sampled responses are."""
        self.tokens, self._meta = tokens, meta

    def on_scored(self, score: GroupScore | None) -> None:
        """Record the rewards; None drops the group."""
        self._score, self.is_dropped = score, score is None


@dataclass(frozen=True)
class TokenAdvantages:
    """Per-token advantages, kept where a critic rank computed them; training uses (A - mean) / std."""

    estimates: Ref  # Estimates
    mean: float
    std: float


@dataclass(frozen=True)
class TrainItem:
    """References to the tensors of one group to train the policy or critic on; ranks fetch what they need."""

    tokens: Ref  # RolloutGroup
    advantages: Floats | TokenAdvantages | None = None  # [G], or [G][T]; None for the critic
    reference: Ref | None = None  # per response, the reference model's log-probabilities
    old: Ref | None = None  # per response, the learner's own from before the batch's first update
    teacher_tokens: Ref | None = None  # per response, `TopTokens` of a teacher in vLLM
    estimates: Ref | None = None  # Estimates: what the critic is fitted to
    kept: tuple[int, ...] | None = None  # which responses are trained on; None: all
    kl_slope: float = (
        0.0  # advantage per nat of KL that follows a token; 0 where it is no part of the return
    )

    @classmethod
    def of(
        cls,
        group: GroupHandle,
        advantages: Floats | TokenAdvantages,
        old: Ref | None = None,
        kept: tuple[int, ...] | None = None,
        kl_slope: float = 0.0,
    ) -> TrainItem:
        """The policy's item of a scored group."""
        refs = (group.reference, old, group.teacher_tokens)
        return cls(group.tokens, advantages, *refs, kept=kept, kl_slope=kl_slope)


def prompt_ids(groups: Sequence[GroupHandle]) -> str:
    """List the prompt ids of groups for messages: `prompts a, b`."""
    ids = [group.prompt.record.id for group in groups]
    return f"prompt{'s' if len(ids) > 1 else ''} {', '.join(ids)}"
