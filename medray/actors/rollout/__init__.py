"""Rollout workers: the actor around an engine, and the pool that outlives any of them."""
