"""What a request may ask for: every field that medray vouches for, with its bounds; all others are refused."""
