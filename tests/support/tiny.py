"""The tiny random model of the tests."""

from medray.models.tiny import save_tiny_model

__all__ = ["save_tiny_model"]
