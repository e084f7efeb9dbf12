"""LLM judges behind a URL: asked concurrently, cached, retried, and never turned into a silent 0."""
