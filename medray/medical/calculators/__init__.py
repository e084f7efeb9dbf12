"""Medical calculators: what they take, how they are asked about, and the `medcalc-bench` package as their oracle."""
