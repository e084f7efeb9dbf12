"""This machine and its processes: hardware, cores, heap, process states."""
