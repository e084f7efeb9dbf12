"""From a `data` section to records: sources, mixtures, splits, stages, reports."""
