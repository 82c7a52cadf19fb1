"""DoLa's buckets of premature layers (paper section 3.1 and appendix A).

DoLa contrasts the last (mature) layer with an earlier (premature) one. A bucket is the range of layers from which the
premature layer is chosen, as percentages of depth.
"""

from collections.abc import Sequence

from offcourse.errors import OffcourseError

# Percentages of depth. The paper cuts large models into four parts and small models into overlapping halves.
BUCKETS = {"small": ("0-50", "25-75", "50-100", "0-100"), "large": ("0-25", "25-50", "50-75", "75-100")}


def candidate_layers(asked: str | Sequence[str], layers: int, large: bool = False) -> dict[str, list[int]]:
    """{bucket: its premature layers}: every second layer from the lower to the upper bound, without the mature layer.

    Layer j is the input of block j (0: the embeddings). Raises `OffcourseError` for a bucket outside 0 to 100 percent.
    """
    buckets = BUCKETS["large" if large else "small"] if asked == "auto" else asked
    found = {}
    for bucket in buckets:
        low, high = (int(part) * layers // 100 for part in bucket.split("-"))
        if not low < layers or high > layers:
            raise OffcourseError(
                f"dola.buckets: {bucket} goes beyond the model's {layers} layers. A bucket is two percentages of "
                "depth, from 0 to 100, such as 50-100."
            )
        found[bucket] = [layer for layer in range(low, high + 1, 2) if layer < layers]
    return found
