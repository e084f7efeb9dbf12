"""The web chat: Gradio on Ray Serve, in front of the OpenAI endpoints. Needs `pip install medray[web]`."""
