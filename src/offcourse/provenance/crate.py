"""A study's run as a Workflow Run RO-Crate (profile Provenance Run Crate), made from its records.

The crate holds tables, figures, records, the configuration and the workflow file. Results of steps and weights are too
large to copy: the crate describes each by an entity whose identifier is the sha256 (`ni:`, RFC 6920) and which gives
the path.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offcourse.provenance.records import fingerprint_of

TERMS = {name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in ("resourceUsage", "sha256")}
PROFILES = {
    "process": "Process Run Crate",
    "workflow": "Workflow Run Crate",
    "provenance": "Provenance Run Crate",
}
PROFILE_VERSION = "0.5"
# The version of RO-Crate that the profiles above extend.
VERSION = "1.1"
LICENCE = "https://spdx.org/licenses/MIT"
PAPER = "Steering off Course: Reliability Challenges in Steering Language Models"


def write_crate(
    folder: Path,
    study: str,
    records: Mapping[str, Mapping[str, Any]],
    copies: Mapping[str, Path],
    workflow: str,
    configuration: str,
    report: str,
) -> None:
    """Write the crate into `folder`.

    records: {path in the crate: record}. copies: {path in the crate: file that is copied there}; a record that names
    such a path means this copy. workflow, configuration, report: paths in the crate of the workflow file, the study's
    configuration and the report.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=VERSION)
    crate.metadata.extra_terms.update(TERMS)
    made = [record["made"] for record in records.values()]
    began, ended = min(one["started"] for one in made), max(one["ended"] for one in made)
    crate.name = f"Offcourse study {study}"
    crate.description = f"Tables, figures and the record of every job of study {study}: a rerun of “{PAPER}” (2025)."
    crate.datePublished = ended
    crate.license = LICENCE
    graph = _Graph(crate, ContextEntity)
    graph.context(LICENCE, "CreativeWork", name="MIT licence")
    kinds = {name: _media_type(name) for name in copies}
    main = crate.add_workflow(
        copies[workflow],
        workflow,
        main=True,
        lang="snakemake",
        lang_version=made[0]["packages"].get("snakemake"),
        properties={
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": "Offcourse",
            "version": made[0]["packages"].get("offcourse"),
        },
    )
    for name, source in copies.items():
        if name != workflow:
            crate.add_file(source, name, properties={"encodingFormat": kinds[name]})
    profiles = [
        graph.context(
            f"https://w3id.org/ro/wfrun/{key}/{PROFILE_VERSION}", "CreativeWork", name=name, version=PROFILE_VERSION
        )
        for key, name in PROFILES.items()
    ]
    crate.root_dataset.append_to("conformsTo", profiles)
    controls = [graph.job(name, record, main) for name, record in records.items()]
    run = graph.context(
        "#run",
        "CreateAction",
        name=f"Run of study {study}",
        instrument=main,
        object=[crate.get(configuration)],
        result=[crate.get(name) for name in copies if name.startswith(("tables/", "figures/")) or name == report],
        startTime=began,
        endTime=ended,
        actionStatus="http://schema.org/CompletedActionStatus",
    )
    engine = graph.context(
        "#snakemake",
        "SoftwareApplication",
        name="Snakemake",
        softwareVersion=made[0]["packages"].get("snakemake"),
        url="https://snakemake.github.io",
    )
    graph.context(
        "#engine-run",
        "OrganizeAction",
        name="Run of Snakemake",
        instrument=engine,
        object=controls,
        result=run,
        startTime=began,
        endTime=ended,
    )
    main["input"] = graph.parameter("configuration", "The study", crate.get(configuration))
    main["output"] = graph.parameter("report", "The report", crate.get(report))
    crate.root_dataset.append_to("mentions", run)
    crate.write(folder)


class _Graph:
    """Adds the entities that describe jobs to a crate: parameters, actions, tools and files."""

    def __init__(self, crate: Any, kind: type):
        self.crate, self._kind = crate, kind

    def context(self, identity: str, of_type: str, **properties: Any) -> Any:
        """A new contextual entity."""
        entity = self.crate.add(self._kind(self.crate, identity, properties={"@type": of_type}))
        for key, value in properties.items():
            if value is not None:
                entity[key] = value
        return entity

    def parameter(self, name: str, text: str, example: Any) -> Any:
        """A formal parameter of the workflow, and the file that was its value in this run."""
        found = self.context(f"#parameter-{name}", "FormalParameter", name=text, additionalType="File")
        found["workExample"] = example
        example["exampleOfWork"] = found
        return found

    def job(self, name: str, record: Mapping[str, Any], workflow: Any) -> Any:
        """The action that one record describes, and the step of the workflow that the action carried out."""
        rule, made = record["rule"], record["made"]
        tool, step = f"#tool-{rule}", f"#step-{rule}"
        if self.crate.get(tool) is None:
            tools = workflow.get("hasPart") or []
            self.context(
                tool, "SoftwareApplication", name=f"rule {rule}", softwareVersion=fingerprint_of(record["code"])
            )
            self.context(step, "HowToStep", name=rule, position=str(len(tools)), workExample=self.crate.get(tool))
            workflow.append_to("hasPart", self.crate.get(tool))
            workflow.append_to("step", self.crate.get(step))
        memory = self.context(
            f"#memory-{name}",
            "PropertyValue",
            name="peak memory",
            propertyID="https://w3id.org/ro/terms/offcourse#peak_memory_bytes",
            value=str(made["peak_memory_bytes"]),
            unitText="byte",
        )
        action = self.context(
            f"#job-{name}",
            "CreateAction",
            name=" ".join(filter(None, (rule, record["wildcards"].get("model"), record.get("task")))),
            description=json.dumps(record["parameters"], ensure_ascii=False, sort_keys=True),
            instrument=self.crate.get(tool),
            object=self._files(record["inputs"]),
            result=self._files(record["outputs"]),
            startTime=made["started"],
            endTime=made["ended"],
            actionStatus="http://schema.org/CompletedActionStatus",
            resourceUsage=memory,
            subjectOf=self.crate.get(name),
        )
        return self.context(
            f"#control-{name}", "ControlAction", name=f"{rule}", instrument=self.crate.get(step), object=action
        )

    def _files(self, hashes: Mapping[str, str]) -> list[Any]:
        return [self._file(path, digest) for path, digest in hashes.items()]

    def _file(self, path: str, digest: str) -> Any:
        """The file's copy in the crate, or a new entity for a file that was not copied."""
        inside = "/".join(path.split("/")[2:])
        if path.startswith("results/") and (known := self.crate.get(inside)) is not None:
            known["sha256"] = digest
            return known
        name = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")
        identity = f"ni:///sha-256;{name}"
        if self.crate.get(identity) is None:
            properties = {"name": path, "sha256": digest, "encodingFormat": _media_type(path)}
            self.crate.add_file(identity, properties=properties)
        return self.crate.get(identity)


def _media_type(name: str) -> str:
    types = {
        ".parquet": "application/vnd.apache.parquet",
        ".csv": "text/csv",
        ".md": "text/markdown",
        ".tex": "application/x-tex",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".json": "application/json",
        ".html": "text/html",
        ".yaml": "application/yaml",
        ".tsv": "text/tab-separated-values",
    }
    return types.get(Path(name).suffix, "application/octet-stream")
