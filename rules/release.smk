# Functions for the rules of the authors' released results: the files that each rule makes and reads. No rule.
from offcourse.archive.manifest import MANIFEST, fetched
from offcourse.data.names import RESOURCES
from offcourse.graph.study_files import results_of
from offcourse.graph.release import Release
from offcourse.graph.release_rules import NAME, CONVERTED, FIGURES, TABLES, groups_of
from offcourse.published import files as published_files
from offcourse.published import side_by_side as pages_of_both
from offcourse.published.figures import SWEEP_PAGES

RELEASE = Release(Layout(NAME))
PUBLISHED = RELEASE.layout.results
PUBLISHED_FILES = {group: RELEASE.outputs(group) for group in CONVERTED}


def released(*groups):
    """The tables of some groups, as an input function, since there are thousands and most runs do not need them.

    A table's record is no input of what is made from the table. Snakemake keeps the list of inputs for every output, and
    with the records the lists of `published_figures` alone took 88 MB.
    """
    return lambda wildcards: [
        path for group in groups for path in PUBLISHED_FILES[group] if "provenance" not in path.parts
    ]


def released_and_recorded(*groups):
    """The tables of some groups and their records, as an input function."""
    return lambda wildcards: [path for group in groups for path in PUBLISHED_FILES[group]]


def of_release(rule):
    """The tables, figures or pages that a rule makes of the release."""
    return published_files.outputs(RELEASE, rule)


def code_of_release(rule):
    """Digest of the code behind a rule of the release, as a `params` function.

    Snakemake calls the function for jobs of the plan only, so a rule that does not run costs no digest.
    """
    return lambda wildcards: published_files.code_of(rule, ORIGINAL)


def read_of_release(rule):
    """Everything that a rule of the release reads beside results and code, as a `params` function."""
    return lambda wildcards: published_files.read_by(rule, RELEASE)
