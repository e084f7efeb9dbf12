"""A run from command to summary: launch, resume, generate, prepare, quantise, tune."""
