"""Attention over packed rows with shared prefixes, and the probe that chooses a form."""
