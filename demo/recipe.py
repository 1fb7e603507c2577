"""How the demo model is sampled: what it was trained for."""

STEPS = 20
CFG = 3.0
SHIFT = 8.0
SAMPLER, SCHEDULER = "euler", "simple"
PROMPT = "a red circle moving right"
NEGATIVE = ""
# of place and size in the videos it learned from: a model this small learns what moves, not where else it could be
SPREAD = 0.15
