"""How much goes through a model at once when the study leaves it to us: the engine's choice, and what a plan counts on.

Each pass reads all weights once more, so that few large passes are best. Tokens of a forest attend to each other, which
costs their square: fewer at once on a CPU.
"""

CPU_ROWS, GPU_ROWS = 2048, 4096
CPU_TOKENS, GPU_TOKENS = 512, 4096
