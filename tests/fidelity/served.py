"""A real server with a database of its own, whose endpoint `fidelity` has every model that is put into it.

For the files beside this one, which ask it what they ask their library. What the server or the command line refuses is an
error with what it said.
"""
import http.client
import json
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit


class Served:
    def __init__(self, rookery, *flags):
        self.rookery, self.place = rookery, tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name)
        self.environment = {"PATH": "/usr/bin:/bin"}
        database = ["--db", str(self.folder / "fidelity.db")]
        self.run("user", "create", "root-admin", "--admin", "--password-stdin", *database, text="correct horse battery")
        self.key = json.loads(self.run("key", "create", "root-admin", "--api", "--json", *database))["ApiKey"]
        serve = [rookery, "serve", *database, "--listen", "127.0.0.1:0", *flags]
        self.child = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.child.stdout.readline().split()
        if not line:
            raise RuntimeError(f"the server did not start: {' '.join(serve)}")
        self.environment |= {"ROOKERY_URL": line[-1], "ROOKERY_TOKEN": self.key}
        self.connection = http.client.HTTPConnection(urlsplit(line[-1]).netloc, timeout=120)
        self.run("endpoint", "create", "fidelity", "--prefix", "fidelity/")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()
        self.place.cleanup()

    def run(self, *arguments, text=""):
        """What the command line prints."""
        done = subprocess.run([self.rookery, *arguments], input=text, capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return done.stdout

    def put(self, name, path):
        self.run("model", "put", f"fidelity/{name}", str(path))

    def ask(self, name, body, content_type="application/json", accept="application/json", explain=False):
        """The answer to a body, or to rows that are written as JSON."""
        if not isinstance(body, bytes):
            body = json.dumps({"instances": body}).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type, "Accept": accept, "X-Amzn-SageMaker-Target-Model": name}
        self.connection.request("POST", f"/endpoints/fidelity/invocations{'?explain=true' if explain else ''}", body=body, headers=headers)
        reply = self.connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            if self.child.poll() is not None:
                raise SystemExit(f"the server ended at {name}")
            raise RuntimeError(f"{reply.status} {body[:300].decode(errors='replace')}")
        return json.loads(body)
