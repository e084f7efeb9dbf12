"""Files of rows: found, opened in their encoding, and read one row at a time."""
