"""Chat formats by name, each written as a Jinja template that works in any Hugging Face tokenizer."""
