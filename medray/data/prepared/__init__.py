"""Folders of prepared shards: their manifest, their tables, and reading trees from them. Free of Ray."""
