"""Divergences between a teacher's and a student's whole distributions, from their hidden states."""

from typing import Literal, cast

import torch
from jaxtyping import Float
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
    if not 0 < beta < 1:
        raise ValueError(
            f"beta={beta} must lie between 0 and 1: for the ends use forward_kl or reverse_kl"
        )
    if temperature <= 0 or chunk < 1:
        raise ValueError(f"temperature={temperature} and chunk={chunk} must be positive")
    dtype = accumulator_dtype(student_hidden, student_weight)

    def logprobs(hidden: Tensor, weight: Tensor) -> Tensor:
        logits = hidden.to(dtype) @ weight.to(dtype).t()
        return (logits / temperature).log_softmax(-1)

    def part(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
        with torch.no_grad():
            log_teacher = logprobs(teacher, teacher_weight)
        return divergence_per_position(logprobs(student, weight), log_teacher, divergence, beta)

    parts: list[Tensor] = []
    for start in range(0, max(1, len(student_hidden)), chunk):
        at = slice(start, start + chunk)
        inputs = (student_hidden[at], teacher_hidden[at], student_weight)
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
