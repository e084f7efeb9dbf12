"""Batches for the learner: examples, trees, packing, and which rows a step takes."""
