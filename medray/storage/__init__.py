"""What is on disk: whole-file writes, mirrors, manifests, metrics, rollouts, the run folder."""
