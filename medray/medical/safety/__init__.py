"""Rules before and after a model: emergency red flags, advice to seek care, a disclaimer. English and Chinese."""
