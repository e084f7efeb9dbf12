"""What is wrong with this machine or set-up, why it matters, and how to mend it. Behind `medray doctor`."""
