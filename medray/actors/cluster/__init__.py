"""Joining a Ray cluster, placing actors on it, sending jobs to it."""
