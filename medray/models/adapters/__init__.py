"""LoRA adapters: on disk, on a model, merged, and several on one base."""
