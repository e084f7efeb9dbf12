"""Prometheus metrics of the front door, through Ray's own exporter, beside Ray Serve's and vLLM's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]


class RequestMetrics:
    """Requests by path, model, status and ending; seconds to the first byte and to the last."""

    def __init__(self) -> None:
        keys = ("path", "model")
        self._count = Counter(
            "medray_serve_requests", "Requests answered.", (*keys, "status", "ended")
        )
        self._seconds = Histogram(
            "medray_serve_request_seconds", "Request to last byte.", SECONDS, keys
        )
        self._first = Histogram(
            "medray_serve_first_byte_seconds", "Request to first byte.", SECONDS, keys
        )
        self._in_flight = Gauge("medray_serve_requests_in_flight", "Requests being answered.")
        self._open = 0

    def began(self) -> None:
        """Count a request as in flight."""
        self._open += 1
        self._in_flight.set(self._open)

    def ended(self, facts: Mapping[str, Any]) -> None:
        """Record a finished request: its outcome, latency and time to first byte, in seconds."""
        self._open -= 1
        self._in_flight.set(self._open)
        tags = {"path": facts["path"], "model": str(facts.get("model", ""))}
        outcome = {"status": str(facts.get("status", 0)), "ended": str(facts["ended"])}
        self._count.inc(1, {**tags, **outcome})
        self._seconds.observe(facts["seconds"], tags)
        if "first_byte_s" in facts:
            self._first.observe(facts["first_byte_s"], tags)


class SafetyMetrics:
    """How often each safety rule held, before or after the model."""

    def __init__(self) -> None:
        self._count = Counter(
            "medray_serve_safety_rules", "Safety rules that held.", ("rule", "stage", "mode")
        )

    def count(self, rules: Iterable[str], *, stage: str, mode: str) -> None:
        """Add one to the counter of each rule that fired."""
        for rule in rules:
            self._count.inc(1, {"rule": rule, "stage": stage, "mode": mode})
