"""How fast a package of the function starts on this machine: from the start of its process until it asks for the first
event, and until that is answered. Usage: cold_start.py PACKAGE.zip [STARTS]

The Lambda Runtime API, DynamoDB and SQS are stand-ins on 127.0.0.1 that know nothing. So this is the program's own share:
what AWS adds (fetching the package, the sandbox, the network) is not in it."""

import http.server
import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

PATIENCE = 20.0
CONFIG = """
[hub]
url = "mqtt://127.0.0.1:9"
[integrations.ttn]
connector = "ttn"
auth = { scheme = "bearer", secrets = [{ env = "TTN_SECRET" }] }
"""
EVENT = {
    "version": "2.0", "routeKey": "$default", "rawPath": "/healthz", "rawQueryString": "", "headers": {"host": "localhost"},
    "requestContext": {
        "accountId": "1", "apiId": "a", "domainName": "localhost", "domainPrefix": "a", "requestId": "r", "routeKey": "$default",
        "stage": "$default", "time": "21/Nov/2026:00:00:00 +0000", "timeEpoch": 1795219200000,
        "http": {"method": "GET", "path": "/healthz", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "cold_start"},
    },
    "isBase64Encoded": False,
}  # fmt: skip


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """The process is ended while its connections are open."""


class StandIn(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if not self.path.endswith("/invocation/next"):
            return self.answer(404, {})
        self.server.moments.put(("asked", time.monotonic()))
        if self.server.given:
            # The next one never comes; the process is ended meanwhile.
            self.server.over.wait(PATIENCE)
            return self.answer(500, {})
        self.server.given = True
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "r",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 30000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:f",
        }
        return self.answer(200, EVENT, headers)

    def do_POST(self):
        body = self.body()
        target = self.headers.get("X-Amz-Target", "")
        if "/invocation/" in self.path or "/init/" in self.path:
            good = self.path.endswith("/response") and json.loads(body).get("statusCode") == 200
            kind = "answered" if good else "failed"
            self.server.moments.put((kind, time.monotonic() if kind == "answered" else body.decode(errors="replace")))
            return self.answer(202, {})
        if target.endswith(".BatchGetItem"):
            return self.answer(200, {"Responses": {}, "UnprocessedKeys": {}})
        if target.endswith(".Query"):
            return self.answer(200, {"Items": [], "Count": 0, "ScannedCount": 0})
        return self.answer(200, {})

    def body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = b""
        while size := int(self.rfile.readline(), 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def answer(self, status, value, headers=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def moment(moments, process):
    """What happens next; nothing does when the process has ended, or takes its time."""
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            return moments.get(timeout=0.2)
        except queue.Empty:
            if process.poll() is not None or time.monotonic() > patience:
                raise


def start(program, folder):
    """Seconds until the first event was asked for, and until it was answered."""
    server = Server(("127.0.0.1", 0), StandIn)
    server.moments, server.given, server.over = queue.Queue(), False, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_address[1]}"
    environment = {
        "PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": address, "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing",
        "LAMBDA_TASK_ROOT": folder, "DEVICE_BRIDGE_CONFIG": "cold-start.toml", "DEVICE_BRIDGE_TABLE": "bridge",
        "DEVICE_BRIDGE_QUEUE_URL": f"http://{address}/1/outbox.fifo", "TTN_SECRET": "long-enough-to-be-a-secret-0123456789",
    }  # fmt: skip
    begun = time.monotonic()
    process = subprocess.Popen([program], env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # What it says is read all the while, or it would stop when the pipe is full.
    said = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
    reader.start()
    moments = {}
    try:
        while "answered" not in moments:
            kind, at = moment(server.moments, process)
            if kind == "failed":
                raise RuntimeError(f"it answered with an error: {at}")
            moments.setdefault(kind, at - begun)
    except queue.Empty:
        process.kill()
        reader.join(1)
        raise RuntimeError(f"it ended, or gave no answer within {PATIENCE:.0f} s; it said: {''.join(said)[-2000:]}") from None
    finally:
        process.kill()
        process.wait()
        server.over.set()
        server.shutdown()
        server.server_close()
    return moments["asked"], moments["answered"]


def main(package, starts="10"):
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
        program = pathlib.Path(folder, "bootstrap")
        program.chmod(0o755)
        pathlib.Path(folder, "cold-start.toml").write_text(CONFIG)
        try:
            times = [start(str(program), folder) for _ in range(int(starts))]
        except RuntimeError as error:
            sys.exit(f"{package} does not start: {error}")
    asked, answered = (statistics.median(column) * 1000 for column in zip(*times))
    print(f"{package}: ready after {asked:.0f} ms, first answer after {answered:.0f} ms (medians of {starts} starts on this machine)")


if __name__ == "__main__":
    main(*sys.argv[1:])
