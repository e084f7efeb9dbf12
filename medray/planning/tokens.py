"""The largest row (micro-batch) that a job makes a learner compute."""

from __future__ import annotations

from dataclasses import dataclass, replace

from medray.config.base import Section
from medray.config.rl import RlJob
from medray.config.supervised import SupervisedJob

PAIRS = ("DpoJob", "OrpoJob", "RmJob")  # jobs whose rows are pairs


@dataclass(frozen=True)
class RowSize:
    """Groups of equal size: a prompt, and its branches (responses) of `branch` tokens each."""

    num_groups: int
    prompt: int
    branches: int
    branch: int
    more_rows: (
        bool  # the step has further rows, so that gradients are there while this one is computed
    )

    @property
    def num_tokens(self) -> int:
        """Number of tokens of the packed row, shared prompts counted once."""
        return self.num_groups * (self.prompt + self.branches * self.branch)

    @property
    def num_trained(self) -> int:
        """Tokens that the loss counts."""
        return self.num_groups * self.branches * self.branch


def largest_row(job: Section, num_ranks: int | None = None) -> RowSize:
    """The row of the longest sequences that the settings allow.

    Args:
        job: an RL or a supervised job.
        num_ranks: how many share an RL job's batch; None takes the learner's.
    """
    if isinstance(job, RlJob):
        return _rl_row(job, num_ranks or job.workers.learner.count)
    assert isinstance(job, SupervisedJob), f"no plan for a {type(job).__name__}"
    longest = _longest(job)
    branches = 2 if type(job).__name__ in PAIRS else 1
    budget = max(job.learner.row_tokens, longest)
    per_rank = -(-job.batch.rows_per_step // job.workers.learner.count)
    wanted = per_rank * longest * branches
    prompt = longest // 4 if branches == 2 else 0
    branch = longest - prompt
    size = prompt + branches * branch
    num_groups = max(1, min(budget, wanted) // size)
    if branches == 1 and budget > num_groups * size:  # shorter rows fill what is left
        branch = min(budget, wanted) // num_groups
    return RowSize(num_groups, prompt, branches, branch, wanted > budget)


def as_computed(row: RowSize, num_tokens: int) -> RowSize:
    """A row of the same make that has `num_tokens`, where that is less: all of what a step had to compute."""
    if num_tokens >= row.num_tokens:
        return row
    share = num_tokens / row.num_tokens
    prompt, branch = round(row.prompt * share), max(1, round(row.branch * share))
    return replace(row, prompt=prompt, branch=branch, more_rows=False)


def num_shares(job: Section) -> int:
    """Into how many optimizer steps, and over how many ranks of each, the tokens of a step of the job are dealt."""
    if isinstance(job, RlJob):
        return job.workers.learner.count * job.algorithm.minibatches
    assert isinstance(job, SupervisedJob), f"no plan for a {type(job).__name__}"
    return job.workers.learner.count


def with_longest(job: Section, num_tokens: int) -> Section:
    """The job with its limit lowered to what its data has.

    Args:
        job: an RL or a supervised job.
        num_tokens: of the longest prompt (RL), or of the longest row with all its branches.
    """
    if isinstance(job, RlJob):
        data = job.data.model_copy(update={"max_prompt_tokens": num_tokens})
        return job.model_copy(update={"data": data})
    chat = getattr(job, "chat", None)
    if chat is None:  # texts are cut into blocks of one length
        return job
    if type(job).__name__ in PAIRS:
        num_tokens = num_tokens * 4 // 7  # a quarter is the prompt, which both branches share
    return job.model_copy(update={"chat": chat.model_copy(update={"max_tokens": num_tokens})})


def _longest(job: SupervisedJob) -> int:
    chat = getattr(job, "chat", None)
    if chat is not None:
        return int(chat.max_tokens)
    return int(getattr(job, "block_tokens", 0) or job.learner.row_tokens)


def _rl_row(job: RlJob, num_ranks: int) -> RowSize:
    prompt, branch = job.data.max_prompt_tokens, job.rollout.max_new_tokens
    group = prompt + job.rollout.samples_per_prompt * branch
    budget = job.learner.row_tokens
    per_rank = -(-job.rollout.prompts_per_step // (num_ranks * job.algorithm.minibatches))
    if group > budget:  # a group is cut between its responses
        branches = max(1, (budget - prompt) // branch)
        return RowSize(1, prompt, branches, branch, True)
    num_groups = max(1, min(per_rank, budget // group))
    return RowSize(
        num_groups, prompt, job.rollout.samples_per_prompt, branch, per_rank > num_groups
    )
