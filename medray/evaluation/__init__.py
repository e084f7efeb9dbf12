"""Held-out evaluation: in training, of several models, of language models before and after quantisation."""
