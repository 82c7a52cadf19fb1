"""A model hub on this machine: what the hub's client asks for when models are pinned, over real HTTP."""

import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

_COMMIT = re.compile("[0-9a-f]{40}")


def commit(repo: str, revision: str) -> str:
    """The commit that the hub of the tests has for a branch or tag."""
    return hashlib.sha1(f"{repo}@{revision}".encode()).hexdigest()


@dataclass
class Hub:
    """What the hub has and was asked.

    missing: (repo, revision) pairs that it lacks. gated: repos that need an agreement; token: whose owner has it.
    moved: (repo, revision) -> commit, for branches that were pushed to. commits: (repo, branch) -> [(commit, day)], the
    newest first. files: repo -> {path: bytes}, where these are not those of a model in safetensors. folders: repo ->
    folder with its files, which the hub gives out.
    """

    address: str = ""
    missing: set[tuple[str, str]] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_theirs"
    moved: dict[tuple[str, str], str] = field(default_factory=dict)
    commits: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)

    def environment(self, home) -> dict[str, str]:
        """Variables with which the hub's client talks to this hub, and has no token and no cache of its user."""
        return {"HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}

    def file(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        """Content and headers of a file of a repository; None for a path that is no file."""
        repo, _, rest = path.removeprefix("/").partition("/resolve/")
        at, _, name = rest.partition("/")
        if repo not in self.folders or not (self.folders[repo] / name).is_file():
            return None
        content = (self.folders[repo] / name).read_bytes()
        return content, {"X-Repo-Commit": at, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], dict | list]:
        """Status, headers and JSON body for one path."""
        if (found := re.fullmatch(r"/api/models/(.+)/commits/(.+)", path)) and found[1] not in self.unknown:
            made = self.commits.get((found[1], found[2]), [(commit(found[1], found[2]), "2024-11-25")])
            return (
                200,
                {},
                [
                    {"id": name, "title": "", "message": "", "authors": [{"user": "a"}], "date": f"{day}T12:00:00.000Z"}
                    for name, day in made
                ],
            )
        if path.endswith("/auth-check"):
            repo = path.removeprefix("/api/models/").removesuffix("/auth-check")
            if token == f"Bearer {self.token}":
                return 200, {}, {}
            return (403 if token else 401), {"X-Error-Code": "GatedRepo"}, {"error": f"Access to {repo} is restricted."}
        repo, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        if repo in self.unknown:
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        if (repo, revision) in self.missing:
            return 404, {"X-Error-Code": "RevisionNotFound"}, {"error": f"Invalid rev id: {revision}"}
        body = {
            "id": repo,
            "sha": self.moved.get(
                (repo, revision), revision if _COMMIT.fullmatch(revision) else commit(repo, revision)
            ),
            "lastModified": "2024-11-25T10:20:30.000Z",
            "gated": "manual" if repo in self.gated else False,
            "cardData": {"license": "apache-2.0"},
            "siblings": [
                {"rfilename": name, "size": size}
                for name, size in self.files.get(repo, {"model.safetensors": 9}).items()
            ],
        }
        if repo in self.folders:
            body["siblings"] = [
                {"rfilename": path.name, "size": path.stat().st_size} for path in sorted(self.folders[repo].iterdir())
            ]
        return 200, {}, body


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` on a free port of the loopback interface."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(path)
            if found := hub.file(path):
                self.send(200, found[1], found[0])
                return
            status, headers, body = hub.answer(path, self.headers.get("Authorization", ""))
            self.send(status, headers | {"Content-Type": "application/json"}, json.dumps(body).encode())

        def do_HEAD(self):
            self.do_GET()

        def send(self, status: int, headers: dict[str, str], content: bytes):
            self.send_response(status)
            for name, value in (headers | {"Content-Length": len(content)}).items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
