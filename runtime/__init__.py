"""Features of a loaded model at run time: sampler patch, shared inputs, compilation, offloading, memory reports."""
