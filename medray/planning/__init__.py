"""Memory predicted from a model's configuration and a job's settings, before anything is started."""
