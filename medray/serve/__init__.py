"""Ray Serve applications: ray.serve.llm behind medray's own front door."""
