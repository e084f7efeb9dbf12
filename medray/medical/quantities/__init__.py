"""Numbers with units, as people write them in English and Chinese: read, converted, compared."""
