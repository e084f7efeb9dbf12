"""Actors that score groups: rewards, reference and teacher log-probabilities; evaluation of models."""
