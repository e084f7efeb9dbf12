"""What is wrong with this machine or set-up, why it matters, and how to fix it. Behind `medray doctor`."""
