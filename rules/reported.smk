# Files as `snakemake --report` shows them, with captions and categories. No rule.

# Types of files that `snakemake --report` shows; the other files of a table or figure hold the same numbers.
REPORTED = (".svg", ".csv", ".html")


def shown(rule, model=None):
    """The files of a table or figure, with a caption and a category for `snakemake --report`."""
    return [reported(rule, path) if path.suffix in REPORTED else path for path in drawn(rule, model)]


def reported(rule, path):
    """One file marked for `snakemake --report`, with its category (tables or figures), name, model and task."""
    _, name, *page = *path.relative_to(RESULTS).with_suffix("").parts, "report"
    category = {".svg": "Figures", ".csv": "Tables"}.get(path.suffix, "Report")
    return report(
        path,
        caption=f"../workflow/report/{PRODUCTS[rule].caption or rule}.rst",
        category=category,
        labels={"name": name, "page": " ".join(page[:-1]) or "all"},
    )
