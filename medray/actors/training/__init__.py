"""Learner and critic ranks, their groups, and the workers of Ray Train."""
