"""Audit of the authors' released results (`results/published`): from their tables and figures down to the manifest."""

from collections.abc import Iterator
from pathlib import Path

from offcourse.audit.audit import Audit
from offcourse.graph.release import Release
from offcourse.graph.release_rules import CONVERTED, NAME, ON_DEMAND, PAGES
from offcourse.layout import Layout, picture_files
from offcourse.published.files import outputs

# The rule of sweep pages that are drawn one by one on request; files of the other rules are known beforehand.
ONE_BY_ONE = "published_sweep_page"


class ReleaseAudit(Audit):
    """The audit of the authors' release, which has no study's configuration."""

    def __init__(self, base: Path = Path()):
        self.release = Release(Layout(NAME, base))
        super().__init__(None, self.release.registry, self.release.layout, weights=False)

    def _pages(self) -> Iterator[tuple[Path, list[Path]]]:
        """(record, files) of every job that makes tables, figures or facts."""
        for rule in PAGES:
            if rule not in (*ON_DEMAND, ONE_BY_ONE):
                yield self.layout.rule_record(rule), outputs(self.release, rule)
        for record in (self.layout.results / "provenance").glob(f"*/{ONE_BY_ONE}.json"):
            yield record, picture_files(self.layout.results / "figures" / "figure17" / record.parent.name)

    def rules(self) -> dict[str, dict[str, Path]]:
        """{rule: {file: its record}}, in an order in which the rules can run."""
        layout = self.layout
        found: dict[str, dict[str, Path]] = {}
        for group in CONVERTED:
            found[f"published_{group}"] = {
                self.path(layout.artefact(step, ".parquet", model, unit)): layout.record(step, model, unit)
                for step, model, unit in self.release.results_of(group)
            }
        listed = "published_function_vectors"
        found[listed][self.path(self.release.listed)] = layout.rule_record(listed)
        for record, files in self._pages():
            found.setdefault(record.stem, {}).update({self.path(file): record for file in files})
        return found

    def origin(self) -> str:
        """What the converted tables were made from, in words."""
        made = [record for record in self.records.values() if record.get("step")]
        unpacked = sum("packed" in record["parameters"] for record in made)
        said = []
        if unpacked:
            said.append(f"{unpacked} tables were unpacked from resources/released, which travels with the repository")
        if unpacked < len(made):
            said.append(
                f"{len(made) - unpacked} tables were converted from the authors' files, which were hashed again"
            )
        return "; ".join(said)

    def _expected(self) -> dict[str, tuple[Path, list[str]]]:
        return {path: (record, []) for files in self.rules().values() for path, record in files.items()}

    def _shown(self) -> Iterator[str]:
        for _, files in self._pages():
            yield from (file.relative_to(self.layout.results).as_posix() for file in files)

    def summary(self, name: str) -> dict[str, str]:
        """The line on a table or figure in the release's report, see `Audit.summary`."""
        return super().summary(name) | {"command": f"offcourse audit {name} --published"}
