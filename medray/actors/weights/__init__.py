"""Weight versions in the object store, and calls that carry weights to engines."""
