"""`snakemake --logger offcourse`: one line of progress. Snakemake finds its logger plugins by this package's name."""

from offcourse.run.progress import LogHandler

__all__ = ["LogHandler"]
