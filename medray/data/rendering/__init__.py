"""Dialogues to tokens: one rendering, with a mask over what the assistant wrote."""
