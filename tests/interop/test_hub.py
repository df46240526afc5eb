"""Systems with their cards go onto a hub and come back: a folder, and a server on this machine that speaks as the hub does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.interop.hub import repository_of

SMALL = {"shape": (24,), "network.width": 32, "network.backbone.depth": 1}
NAME = "somebody/small"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a client asks for that sends small files and fetches a snapshot. kept: its files; asked: what was asked of it."""

    def log_message(self, *_):
        pass

    def _say(self, status, body=b"", **headers):
        body = json.dumps(body).encode() if isinstance(body, dict | list) else body
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", "X-Repo-Commit": "c" * 40, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        kept, path = self.server.kept, self.path.split("?")[0]
        if path.startswith(f"/api/models/{NAME}"):
            if "/tree/" in path:
                return self._say(200, [{"type": "file", "path": n, "size": len(x), "oid": hashlib.sha1(x).hexdigest()} for n, x in kept.items()])
            return self._say(200, {"id": NAME, "sha": "c" * 40, "siblings": [{"rfilename": n} for n in kept]}) if kept else self._say(404)
        name = path.rsplit("/", 1)[-1]
        if path.startswith(f"/{NAME}/resolve/") and name in kept:
            return self._say(200, kept[name], ETag=f'"{hashlib.sha1(kept[name]).hexdigest()}"')
        return self._say(404, {"error": "not found"}, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self):
        self.server.asked.append((self.command, self.path))
        body, path = self.rfile.read(int(self.headers["Content-Length"])), self.path.split("?")[0]
        if self.headers.get("Authorization") != "Bearer hf_mine":
            return self._say(401, {"error": "who are you?"})
        if path == "/api/repos/create":
            return self._say(200, {"url": f"http://{self.headers['Host']}/{NAME}", "name": NAME})
        if path == "/api/validate-yaml":
            return self._say(200, {"errors": [], "warnings": []})
        if path.endswith("/preupload/main"):
            return self._say(200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]})
        if path.endswith("/commit/main"):
            for line in map(json.loads, body.decode().splitlines()):
                if line["key"] == "file":
                    self.server.kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self._say(200, {"commitUrl": f"http://{self.headers['Host']}/{NAME}/commit/{'c' * 40}", "commitOid": "c" * 40, "success": True})
        return self._say(404, {"error": "not found"})


@pytest.fixture
def hub(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.kept, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def asked_of(hub, tmp_path, code, token="hf_mine"):
    """Runs Python in a process of its own, whose hub this is: huggingface_hub reads its address when it is imported."""
    around = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(Path(of.__file__).parents[1]),
    }
    return subprocess.run([sys.executable, "-c", code], env=around, capture_output=True, text=True, timeout=300)


def test_onto_a_hub_and_back(hub, tmp_path):
    system = of.build("gpt", changes=SMALL)
    of.save(system, tmp_path / "mine", notes={"data": "some text", "loss": 1.25})
    done = asked_of(hub, tmp_path, f"import omniform as of; print(of.push({str(tmp_path / 'mine')!r}, 'hf:{NAME}'))")
    assert done.returncode == 0 and done.stdout.strip() == f"hf:{NAME}", done.stderr
    assert {"recipe.json", "weights.safetensors", "notes.json", "README.md", "manifest.json"} <= set(hub.kept)
    assert sum(path.split("?")[0].endswith("/commit/main") for _, path in hub.asked) == 1
    said = hub.kept["README.md"].decode()
    assert "- some text" in said and "1.25" in said and f'of.load("hf:{NAME}")' in said
    hub.kept["README.md"] += b"A line that somebody wrote on the hub's page.\n"
    back = tmp_path / "back"
    done = asked_of(hub, tmp_path, f"import omniform as of; of.save(of.load('hf:{NAME}'), {str(back)!r})")
    assert done.returncode == 0, done.stderr
    again = of.load(back)
    assert again.recipe.against(system.recipe) == {}
    assert all(torch.equal(x, again.state_dict()[n]) for n, x in system.state_dict().items())
    hub.kept["weights.safetensors"] = hub.kept["weights.safetensors"][:-1] + b"\0\1"
    done = asked_of(hub, tmp_path / "another", f"import omniform as of; of.load('hf:{NAME}')")
    assert done.returncode and "CheckpointError" in done.stderr and "take a copy" in done.stderr
    for code, token, says in (
        (f"import omniform as of; of.push({str(tmp_path / 'mine')!r}, 'hf:{NAME}')", "hf_other", "the hub does not take somebody/small"),
        ("import omniform as of; of.load('hf:nobody/nothing')", "hf_mine", "the hub does not give nobody/nothing"),
    ):
        done = asked_of(hub, tmp_path, code, token)
        assert done.returncode and says in done.stderr.strip().splitlines()[-1], done.stderr


def test_into_a_folder_and_back(tmp_path):
    system = of.build("gpt", changes=SMALL)
    assert of.push(system, tmp_path / "published") == str(tmp_path / "published")
    again = of.load(tmp_path / "published")
    assert all(torch.equal(x, again.state_dict()[n]) for n, x in system.state_dict().items())
    said = (tmp_path / "published" / "README.md").read_text()
    assert said.startswith("---\nlibrary_name: omniform\n") and "## Sources" in said and "## Data" not in said and "## Measured" not in said


def test_where_a_place_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repository_of("hf:a/b") == repository_of("a/b") == "a/b"
    (tmp_path / "a").mkdir()
    assert repository_of("a/b") is repository_of(Path("c/d")) is repository_of("./c/d") is repository_of("plain") is None
    with pytest.raises(CheckpointError, match="write hf:OWNER/NAME"):
        repository_of("hf:plain")
