"""`report.html`: a run in pictures, one self-contained file."""
