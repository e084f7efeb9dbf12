"""Fetching catalogue models once, whole and verified."""
