"""Medical knowledge in plain Python: no torch, no Ray."""
