"""Tokenizers of a domain: built anew from texts, or a model's own with tokens added for it."""
