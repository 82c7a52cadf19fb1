"""Schema of prompts, and their kinds."""

import pandera.pandas as pa

from offcourse.schemas.io import columns

# Those that vectors are built from.
BUILD_PROMPTS = ("head_mean", "cie")
FUNCTION_VECTOR_PROMPTS = (*BUILD_PROMPTS, "icl", "query")

# Of a study with more than one draw of the build prompts (`function_vectors.build_draws`).
AGAIN = ("head_mean_again", "cie_again")

TASK_VECTOR_PROMPTS = ("tv_baseline", "tv_icl", "tv_test_dummy", "tv_test_query", "tv_dev_dummy", "tv_dev_query")

PROMPT_KINDS = (*FUNCTION_VECTOR_PROMPTS, *TASK_VECTOR_PROMPTS, *AGAIN)

PROMPTS = columns(
    kind=pa.Column(str, pa.Check.isin(PROMPT_KINDS)),
    index=pa.Column(int, pa.Check.ge(0)),
    shots=pa.Column(int, pa.Check.ge(0)),
    text=pa.Column(str),
    token_ids=pa.Column(object),
    read_position=pa.Column(int, pa.Check.ge(0)),
    target_id=pa.Column(int, pa.Check.ge(0)),
    target=pa.Column(str),
)
