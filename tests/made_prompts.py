"""Made-up prompts on disk, of evaluated items with given targets."""

from pathlib import Path

import pandas as pd

from offcourse.data.targets import spread
from offcourse.methods.prompts import EVALUATED
from offcourse.schemas.io import write_parquet
from offcourse.schemas.prompts import PROMPTS


def write_prompts(path: Path, **targets: list[int]) -> None:
    """Write the prompts of one model and task; targets: by method, the first token of each evaluated answer."""
    rows = [
        (EVALUATED[method], index, 0, f"Q: {index}\nA:", [index], 0, target, f" {target}")
        for method, of in targets.items()
        for index, target in enumerate(of)
    ]
    frame = pd.DataFrame(rows, columns=list(PROMPTS.columns))
    frame.attrs["targets"] = {method: spread(of, path.stem, str) for method, of in targets.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, frame, PROMPTS)
