"""One file for each `medray` command."""
