"""Wire formats of function calls: how tools are described, how a call and its result are written, and read back."""
