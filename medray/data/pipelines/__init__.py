"""Datasets prepared by Ray Data: read, filtered, tokenised, laid out and written as shards, in one streaming pass."""
