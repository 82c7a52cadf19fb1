"""Sizes of a pass when `numerics.max_rows` is `auto`: used by the engine, and by `offcourse plan`.

Each pass reads all weights once, so few large passes are best. Tokens of a forest (prompts that share beginnings, run
as one sequence) attend to each other, which costs the square of their number, so a CPU takes fewer of them at once.
"""

CPU_ROWS, GPU_ROWS = 2048, 4096
CPU_TOKENS, GPU_TOKENS = 512, 4096
