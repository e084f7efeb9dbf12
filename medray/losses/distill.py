"""Divergences between a teacher's and a student's whole distributions, from their hidden states."""

from collections.abc import Callable
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from medray.losses.projection import accumulator_dtype

Divergence = Literal["forward_kl", "reverse_kl", "jsd"]


def distill_loss(
    student_hidden: Float[Tensor, "N D"],
    student_weight: Float[Tensor, "V D"],
    teacher_hidden: Float[Tensor, "N E"],
    teacher_weight: Float[Tensor, "V E"],
    *,
    divergence: Divergence = "forward_kl",
    beta: float = 0.5,
    temperature: float = 1.0,
    chunk: int = 1024,
) -> Float[Tensor, " N"]:
    """Divergence of the student S from the teacher T at every position.

    forward_kl: KL(T || S), covers what the teacher may say (arXiv:1503.02531).
    reverse_kl: KL(S || T), avoids what the teacher would not say (MiniLLM, arXiv:2306.08543).
    jsd: beta * KL(T || M) + (1 - beta) * KL(S || M) with M = beta * T + (1 - beta) * S, the
        generalised Jensen-Shannon divergence; symmetric at beta = 0.5 (GKD, arXiv:2306.13649).

    A chunk of logits is made at a time and made again in the backward pass. The teacher gets no
    gradient.

    Args:
        student_hidden, student_weight: last hidden states and output head; carry grad.
        teacher_hidden, teacher_weight: the teacher's, over the same vocabulary.
        divergence: see above.
        beta: weight of the teacher in the mixture, in (0, 1); read by "jsd" only.
        temperature: divides both sides' logits; the result is not multiplied by its square.
        chunk: positions whose logits are held at once.

    Returns:
        Nats per position, float32 (float64 for float64 inputs).

    Raises:
        ValueError: beta is not in (0, 1), or temperature or chunk is not positive.
    """
    dtype = accumulator_dtype(student_hidden, student_weight)

    def part(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
        with torch.no_grad():
            log_teacher = _logits(teacher, teacher_weight, dtype, temperature).log_softmax(-1)
        log_student = _logits(student, weight, dtype, temperature).log_softmax(-1)
        return divergence_per_position(log_student, log_teacher, divergence, beta)

    _check(beta, temperature, chunk)
    return _in_chunks(part, chunk, student_weight, student_hidden, teacher_hidden)


def top_distill_loss(
    student_hidden: Float[Tensor, "N D"],
    student_weight: Float[Tensor, "V D"],
    teacher_ids: Int[Tensor, "N K"],
    teacher_logp: Float[Tensor, "N K"],
    *,
    divergence: Divergence = "forward_kl",
    beta: float = 0.5,
    chunk: int = 1024,
) -> Float[Tensor, " N"]:
    """Divergence of the student from a teacher of whom only the K most likely tokens are known.

    Both distributions are taken over K + 1 outcomes, those tokens and "any other", so that the result is a lower bound
    of `distill_loss` (data processing inequality) and comes near it as K grows. Dropping the rest instead, without an
    outcome for it, would leave the student free to put its mass there.

    Args:
        student_hidden, student_weight: last hidden states and output head; carry grad.
        teacher_ids: the teacher's most likely tokens at every position, each once; K < V.
        teacher_logp: their log-probabilities at temperature 1, nats.
        divergence, beta, chunk: as of `distill_loss`.

    Returns:
        Nats per position, float32 (float64 for float64 inputs).

    Raises:
        ValueError: beta is not in (0, 1), or chunk is not positive.
    """
    dtype = accumulator_dtype(student_hidden, student_weight)

    def part(student: Tensor, ids: Tensor, logp: Tensor, weight: Tensor) -> Tensor:
        logits = _logits(student, weight, dtype, 1.0)
        others = logits.scatter(-1, ids, float("-inf")).logsumexp(-1, keepdim=True)
        listed = torch.cat([logits.gather(-1, ids), others], -1)
        log_student = listed - logits.logsumexp(-1, keepdim=True)
        known = logp.to(dtype)
        # What is listed leaves something to the others: at least what the teacher's numbers can tell from nothing.
        mass = known.logsumexp(-1, keepdim=True).clamp(max=-torch.finfo(logp.dtype).eps)
        log_teacher = torch.cat([known, (-torch.expm1(mass)).log()], -1)
        return divergence_per_position(log_student, log_teacher, divergence, beta)

    _check(beta, 1.0, chunk)
    return _in_chunks(part, chunk, student_weight, student_hidden, teacher_ids, teacher_logp)


def _check(beta: float, temperature: float, chunk: int) -> None:
    if not 0 < beta < 1:
        raise ValueError(
            f"beta={beta} must be strictly between 0 and 1: use forward_kl or reverse_kl for the limits"
        )
    if temperature <= 0 or chunk < 1:
        raise ValueError(f"temperature={temperature} and chunk={chunk} must be positive")


def _logits(hidden: Tensor, weight: Tensor, dtype: torch.dtype, temperature: float) -> Tensor:
    return hidden.to(dtype) @ weight.to(dtype).t() / temperature


def _in_chunks(part: Callable[..., Tensor], chunk: int, weight: Tensor, *columns: Tensor) -> Tensor:
    """`part` of the columns and the weight, a chunk of positions at a time, computed again in the backward pass."""
    parts: list[Tensor] = []
    for start in range(0, max(1, len(columns[0])), chunk):
        inputs = (*(column[start : start + chunk] for column in columns), weight)
        parts.append(cast("Tensor", checkpoint(part, *inputs, use_reentrant=False)))
    return torch.cat(parts)


def divergence_per_position(
    log_student: Float[Tensor, "N V"],
    log_teacher: Float[Tensor, "N V"],
    divergence: Divergence,
    beta: float = 0.5,
) -> Float[Tensor, " N"]:
    """The divergence of `distill_loss` between two tables of log-probabilities."""
    if divergence == "forward_kl":
        return _kl(log_teacher, log_student)
    if divergence == "reverse_kl":
        return _kl(log_student, log_teacher)
    share = log_student.new_tensor(beta)
    log_mixture = torch.logaddexp(log_teacher + share.log(), log_student + (1 - share).log())
    return beta * _kl(log_teacher, log_mixture) + (1 - beta) * _kl(log_student, log_mixture)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)
