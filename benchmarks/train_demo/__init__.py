"""Trains the demo model: python -m x2v_quant.benchmarks.train_demo."""
