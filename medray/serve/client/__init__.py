"""People's side of a service, over its OpenAI API; imports neither torch nor Ray."""
