"""Classes of replicas. Their process imports this file before it opens a port."""

from __future__ import annotations

from ray.serve.llm.deployment import LLMServer

from medray.serve.loopback import keep_replica_on_loopback

keep_replica_on_loopback()


class EngineServer(LLMServer):
    """ray.serve.llm's engine replica, as it is."""
