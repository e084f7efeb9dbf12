"""Reward models: the head, the model, and scoring answers with it."""
