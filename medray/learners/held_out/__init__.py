"""Held-out metrics of a learner: loss, likelihood, pairs."""
