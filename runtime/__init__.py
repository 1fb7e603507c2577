"""What acts around a loaded model while it runs: the sampler patch, shared inputs, compilation, offloading, reports."""
