"""The study's RO-Crate: valid for the Provenance Run Crate profile, and about the very files of the run."""

import importlib.resources
import json
from io import BytesIO
from pathlib import Path

import pytest
import requests
from requests_cache import CachedSession
from rocrate.rocrate import ROCrate
from rocrate_validator.models import ValidationSettings
from rocrate_validator.services import validate
from urllib3 import HTTPResponse

from offcourse.files import sha256

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


@pytest.fixture
def cache(tmp_path) -> Path:
    """An HTTP cache with the one document that a validation reads: the context.

    rocrate ships that of RO-Crate 1.3. Of the terms that a crate of ours uses, 1.1 has these four elsewhere; so has the
    validator, whose shapes the test would not reach otherwise.
    """
    shipped = json.loads(importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_text())
    shipped["@context"] |= {
        name: f"https://bioschemas.org/{name}" for name in ("ComputationalWorkflow", "FormalParameter")
    }
    shipped["@context"] |= {
        name: f"https://bioschemas.org/ComputationalWorkflow#{name}" for name in ("input", "output")
    }
    text = json.dumps(shipped).encode()
    request = requests.Request("GET", CONTEXT).prepare()
    headers = {"Content-Type": "application/ld+json"}
    raw = HTTPResponse(BytesIO(text), headers, 200, preload_content=False, request_url=CONTEXT)
    response = requests.adapters.HTTPAdapter().build_response(request, raw)
    path = tmp_path / "http"
    session = CachedSession(str(path), backend="sqlite", expire_after=-1)
    session.cache.save_response(response)
    session.close()
    return path


def test_the_crate_is_a_valid_provenance_run_crate(finished, cache):
    settings = ValidationSettings(
        rocrate_uri=finished.results / "ro-crate",
        profile_identifier="provenance-run-crate",
        requirement_severity="REQUIRED",
        offline=True,
        cache_path=cache,
    )
    result = validate(settings)
    issues = [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
    assert issues == [] and result.passed()
    assert {check.identifier.split("_")[0] for check in result.executed_checks} >= {"provenance-run-crate-0.5"}


def test_it_tells_of_every_job_with_the_digests_of_its_files(finished):
    folder = finished.results / "ro-crate"
    crate = ROCrate(folder)
    jobs = [entity for entity in crate.get_by_type("CreateAction") if entity.id != "#run"]
    paths = (finished.results / "provenance").rglob("*.json")
    records = {path.relative_to(finished.results).as_posix(): path for path in paths}
    assert {job.id.removeprefix("#job-") for job in jobs} == records.keys() - {"provenance/ro_crate.json"}
    for entity in crate.get_by_type("File"):
        if entity.get("sha256") and not entity.id.startswith("ni:"):
            assert sha256(folder / entity.id) == entity["sha256"] == sha256(finished.results / entity.id)
    for job in jobs:
        record = json.loads(records[job.id.removeprefix("#job-")].read_text())
        assert {file["sha256"] for file in job["result"]} == set(record["outputs"].values())
        assert {file["sha256"] for file in job["object"]} == set(record["inputs"].values())
        assert (job["startTime"], job["endTime"]) == (record["made"]["started"], record["made"]["ended"])
