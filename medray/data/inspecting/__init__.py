"""What a dataset holds: by file, in figures, split in two."""
