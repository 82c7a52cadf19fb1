"""Schema of the sweep of task vectors."""

import pandera.pandas as pa

from offcourse.schemas.io import columns

TV_SWEEP = columns(
    split=pa.Column(str, pa.Check.isin(["dev", "test"])),
    layer=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)
