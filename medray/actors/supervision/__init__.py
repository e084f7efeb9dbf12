"""Failure detection: watchdog, node probes, restart budgets, incidents, memory."""
