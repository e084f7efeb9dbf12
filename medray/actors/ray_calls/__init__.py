"""Waiting for Ray calls: deadlines, errors unwrapped and named."""
