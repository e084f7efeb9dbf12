"""Reward functions as people write them for verl, in the shapes that its documentation and recipes show."""

from __future__ import annotations

import asyncio
import re


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """GSM8K's: 1 for the right number after ####, `format_score` otherwise."""
    found = re.findall(r"#### (\-?[0-9\.,]+)", solution_str)
    if not found:
        return 0.0
    return 1.0 if found[-1].replace(",", "") == ground_truth else 0.1


def by_source(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    if data_source != "triage":
        raise NotImplementedError(f"no score for {data_source}")
    return float(ground_truth in solution_str)


def detailed(data_source, solution_str, ground_truth, extra_info=None):
    """A dict, as DAPO's recipe returns."""
    right = solution_str.strip() == ground_truth
    return {"score": 1.0 if right else -1.0, "acc": right, "pred": solution_str}


def on_a_case(data_source, solution_str, ground_truth, extra_info):
    """A ground truth of several fields, and the row's own extra_info."""
    hits = sum(value in solution_str for value in ground_truth.values())
    return hits / len(ground_truth) * (extra_info["index"] == 3)


def with_arguments(data_source, solution_str, ground_truth, extra_info=None, bonus=0.0):
    return bonus + (solution_str == ground_truth)


def short_form(solution_str, ground_truth, method="strict"):
    return float(solution_str == ground_truth)


async def compute_score_async(data_source, solution_str, ground_truth, extra_info=None):
    await asyncio.sleep(0)
    return float(solution_str == ground_truth)


def wants_more(data_source, solution_str, ground_truth, extra_info, sandbox):
    return 0.0


def returns_nothing(data_source, solution_str, ground_truth, extra_info=None):
    return None
