"""A hub of data sets on this machine: what `datasets` asks for when it loads a set at a commit, over real HTTP."""

import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, unquote, urlsplit


@contextlib.contextmanager
def serving(repo: str, commit: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve one repository of the hub at one commit; (address, paths that were asked for)."""
    asked: list[str] = []

    def entry(path: str) -> dict:
        return {"type": "file", "path": path, "size": len(files[path]), "oid": hashlib.sha1(files[path]).hexdigest()}

    def tree(folder: str) -> list[dict]:
        inside = [path.removeprefix(folder).lstrip("/") for path in files if path.startswith(folder)]
        folders = sorted({path.split("/")[0] for path in inside if "/" in path})
        below = f"{folder}/" if folder else ""
        return [
            *({"type": "directory", "path": below + name, "size": 0, "oid": "0" * 40} for name in folders),
            *(entry(below + path) for path in inside if "/" not in path),
        ]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            path = unquote(urlsplit(self.path).path)
            asked.append(path)
            length = int(self.headers.get("Content-Length") or 0)
            sent = parse_qs(self.rfile.read(length).decode()) if length else {}
            api, content = f"/api/datasets/{repo}", f"/datasets/{repo}/resolve/{commit}/"
            if path == f"{api}/revision/{commit}":
                siblings = [{"rfilename": name} for name in files]
                return self.send(json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode())
            if path.startswith(f"{api}/tree/{commit}"):
                return self.send(json.dumps(tree(path.removeprefix(f"{api}/tree/{commit}").strip("/"))).encode())
            if path == f"{api}/paths-info/{commit}":
                found = [entry(name) for name in sent.get("paths", []) if name in files]
                return self.send(json.dumps(found).encode())
            if (name := path.removeprefix(content)) in files and path.startswith(content):
                return self.send(files[name], hashlib.sha1(files[name]).hexdigest())
            return self.send(b"{}", status=404)

        do_GET = do_POST = do_HEAD = answer  # noqa: N815

        def send(self, content: bytes, etag: str = "", status: int = 200):
            self.send_response(status)
            headers = {"Content-Length": len(content), "X-Repo-Commit": commit}
            headers |= {"ETag": f'"{etag}"'} if etag else {"Content-Type": "application/json"}
            headers |= {"X-Error-Code": "EntryNotFound"} if status == 404 else {}
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
