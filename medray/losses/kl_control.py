"""How the coefficient of a KL penalty follows the KL that is observed."""

from __future__ import annotations

from dataclasses import dataclass

ERROR_BOUND = 0.2


@dataclass(frozen=True, slots=True)
class KlControl:
    """A coefficient, and what it is steered by; without a target it stays as it is."""

    coef: float
    target: float | None = None
    gain: float = 0.1

    def after(self, observed: float) -> KlControl:
        """The control for the next batch.

        error = clip(observed / target - 1, -0.2, 0.2);  coef <- coef * (1 + gain * error).

        Args:
            observed: mean over the batch's responses of their KL to the reference, nats.

        Source: arXiv:1909.08593 section 2.2.
        """
        if self.target is None:
            return self
        error = min(max(observed / self.target - 1, -ERROR_BOUND), ERROR_BOUND)
        return KlControl(self.coef * (1 + self.gain * error), self.target, self.gain)
