import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, assert_same, integers, light, vector
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.policy import clipped_policy_loss
from medray.losses.reduce import aggregate, sequence_means, sequence_sums, total_over
from medray.types import StepTotals

HOW = ["token", "sequence", "fixed"]
ragged = st.lists(st.lists(st.floats(-3, 3), max_size=5), min_size=1, max_size=4)


def flatten(responses):
    """Per-token values, response of each token, lengths."""
    values = [x for response in responses for x in response]
    index = [i for i, response in enumerate(responses) for _ in response]
    return vector(values, grad=True), integers(index), integers([len(r) for r in responses])


@pytest.mark.parametrize(
    ("how", "value", "gradient"),
    [
        ("token", 15 / 10, [0.1] * 5),
        ("sequence", (1.5 + 4) / 4, [1 / 8, 1 / 8, 1 / 12, 1 / 12, 1 / 12]),
        ("fixed", 15 / 32, [1 / 32] * 5),
    ],
)
def test_golden(how, value, gradient) -> None:
    """Losses 1, 2 of response 0 and 3, 4, 5 of response 1; the step has 10 tokens and 4 responses
    of at most 8.

    token: 15/10. sequence: (3/2 + 12/3) / 4, each token 1/length/4. fixed: 15 / (4 * 8).
    """
    per_token, index, lengths = flatten([[1.0, 2.0], [3.0, 4.0, 5.0]])
    loss = aggregate(per_token, index, lengths, StepTotals(10, 4, 2), how, 8)
    loss.backward()
    assert per_token.grad is not None
    assert_same(loss, value)
    assert_same(per_token.grad, gradient)


@light
@given(responses=ragged, how=st.sampled_from(HOW))
def test_matches_the_reference(responses, how) -> None:
    per_token, index, lengths = flatten(responses)
    loss = aggregate(per_token, index, lengths, StepTotals(40, 9, 3), how, 6)

    def slow(flat: list[float]) -> float:
        rest = iter(flat)
        cut = [[next(rest) for _ in response] for response in responses]
        return reference.aggregate(cut, how, 40, 9, 6)

    assert_same(loss, slow(per_token.tolist()))
    assert_gradient(loss, per_token, slow)


@light
@given(responses=ragged, how=st.sampled_from(HOW), data=st.data())
def test_any_split_into_microbatches_adds_up(responses, how, data) -> None:
    """Policy loss of a shared parameter, cut at random into runs of tokens, in random order.

    Even a response split over micro-batches adds up, since its full length is what it is divided
    by.
    """
    advantage, index, lengths = flatten(responses)
    advantage = advantage.detach()
    count = len(advantage)
    behaviour = torch.linspace(-2, -1, count, dtype=torch.float64)
    features = torch.linspace(-1, 1, count, dtype=torch.float64)
    totals = StepTotals(max(1, count), len(responses), 1)

    def part(keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        theta = vector([0.1], grad=True)
        logp = behaviour[keep] + theta * features[keep]
        loss, _ = clipped_policy_loss(logp, behaviour[keep], advantage[keep], 0.2, 0.2)
        scalar = aggregate(loss, index[keep], lengths, totals, how, 7)
        scalar.backward()
        assert theta.grad is not None
        return scalar.detach(), theta.grad

    rank = integers(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    whole_loss, whole_gradient = part(torch.arange(count))
    parts = [part((rank == r).nonzero().squeeze(1)) for r in range(3)]
    torch.testing.assert_close(sum(p[0] for p in parts), whole_loss)
    torch.testing.assert_close(sum(p[1] for p in parts), whole_gradient)


def test_empty_microbatch_is_a_zero_with_a_graph() -> None:
    per_token = vector([], grad=True)
    for how in HOW:
        loss = aggregate(per_token, integers([]), integers([3]), StepTotals(3, 1, 1), how, 4)
        assert loss.item() == 0
        loss.backward()


@light
@given(responses=ragged)
def test_sequence_sums_and_means(responses) -> None:
    per_token, index, lengths = flatten(responses)
    assert_same(sequence_sums(per_token, index, len(responses)), [sum(r) for r in responses])
    means = [sum(r) / len(r) if r else 0.0 for r in responses]
    assert_same(sequence_means(per_token, index, lengths), means)


def test_total_over_divides_by_the_given_count() -> None:
    assert_same(total_over(vector([1.0, 2.0]), 6), 0.5)


def test_zero_denominator_is_refused() -> None:
    per_token, index, lengths = flatten([[1.0]])
    with pytest.raises(ValueError, match="denominator is 0"):
        aggregate(per_token, index, lengths, StepTotals(0, 0, 0), "token")


def test_fixed_needs_its_length() -> None:
    per_token, index, lengths = flatten([[1.0]])
    with pytest.raises(ValueError, match="max_new_tokens"):
        aggregate(per_token, index, lengths, StepTotals(1, 1, 1), "fixed")
