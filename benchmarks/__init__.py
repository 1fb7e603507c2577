"""x2v-quant bench: measured against what a user has otherwise. Results that are kept lie in results/."""
