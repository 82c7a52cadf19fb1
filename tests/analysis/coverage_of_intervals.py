"""How often the 95 % intervals over model-task pairs hold the true share: a simulation, run by hand.

`python tests/analysis/coverage_of_intervals.py` prints the table of docs/statistics.md. A pair is so with a probability
that depends on its model and its task (normal effects on the scale of logits); models and tasks are new in every
repetition, so the true share is that of all models and tasks there could be.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from offcourse.analysis import inference

SIZES = ((2, 4), (2, 9), (5, 9), (10, 9), (17, 9), (36, 9))
# Logit of a typical pair, standard deviation of models and of tasks.
CASES = {
    "pairs alike": (0.0, 0.5, 0.5),
    "models differ": (0.0, 1.5, 0.5),
    "both differ": (0.0, 1.5, 1.5),
    "few are so": (-2.0, 1.0, 1.0),
}


def draw(random: np.random.Generator, models: int, tasks: int, middle: float, of_models: float, of_tasks: float):
    """[models, tasks] of 0 and 1."""
    logits = middle + random.normal(0, of_models, (models, 1)) + random.normal(0, of_tasks, (1, tasks))
    return (random.random((models, tasks)) < expit(logits)).astype(float)


def true_share(middle: float, of_models: float, of_tasks: float) -> float:
    """The mean over all models and tasks."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    spread = np.hypot(of_models, of_tasks)
    return float((weights * expit(middle + spread * nodes)).sum() / weights.sum())


def coverage(models: int, tasks: int, case: str, repetitions: int = 1000, resamples: int = 1000) -> tuple[float, float]:
    """How often the bootstrap alone, and the interval of Table 3 (no narrower than Wilson's), hold the true share."""
    random, truth, held = np.random.default_rng([models, tasks]), true_share(*CASES[case]), np.zeros(2)
    for _ in range(repetitions):
        table = pd.DataFrame(draw(random, models, tasks, *CASES[case]))
        alone = inference.over_models_and_tasks(table, "pairs", resamples)
        wilson = inference.wilson(table.to_numpy().ravel().tolist())
        both = min(alone.low, wilson[0]), max(alone.high, wilson[1])
        held += [low <= truth <= high for low, high in (alone, both)]
    return tuple(held / repetitions)


def main() -> None:
    """Print the table."""
    for case in CASES:
        for models, tasks in SIZES:
            alone, both = coverage(models, tasks, case)
            print(f"| {case} | {models} | {tasks} | {alone:.2f} | {both:.2f} |", flush=True)


if __name__ == "__main__":
    main()
