"""Models with fewer bits per weight."""
