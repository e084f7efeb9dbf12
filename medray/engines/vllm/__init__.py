"""vLLM as rollout engine, batch engine and teacher; the only home of `import vllm`."""
