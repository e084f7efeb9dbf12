"""Algorithms without a critic: one class per file, each with its own keys and defaults."""
