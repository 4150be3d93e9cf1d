"""/openapi.json held against the server: schemathesis sends what the description allows and what it
forbids; no 5xx, no reply that is not described."""
import os
import pathlib
import subprocess
import sys

import pytest

from serve_support import Server, write_policy

SCHEMATHESIS = pathlib.Path(sys.executable).with_name("schemathesis")


def test_document_names_every_route(tmp_path):
    with Server(write_policy(tmp_path), "--max-parts", 17) as server:
        document = server.get("/openapi.json").json()
        assert document["openapi"].startswith("3.1")
        for path, methods in document["paths"].items():
            for method in methods:
                assert server.request(method.upper(), path).status not in (404, 405), path
        schemas = document["components"]["schemas"]
        assert schemas["GuardRequest"]["allOf"][0]["properties"]["parts"]["maxItems"] == 17
        assert schemas["Options"]["properties"]["profile"]["enum"] == ["", None, "news", "sharp"]


def test_the_number_of_parts_acts_on_every_route(tmp_path):
    """More are refused; of LiteLLM's conversations, which grow, the newest are looked at."""
    with Server(write_policy(tmp_path), "--max-parts", 17) as server:
        many = [f"line {i}" for i in range(40)]
        assert server.guard(*[{"type": "text", "text": line} for line in many]).status == 400
        assert server.post("/v1/moderations", {"input": many}).status == 400
        reply = server.post("/beta/litellm_basic_guardrail_api",
                            {"input_type": "request", "texts": many})
        assert reply.status == 200, reply.body
        left_out = [f["part"] for f in reply.json()["parapet"]["not_scanned"]
                    if f["reason"] == "too_many_parts"]
        assert left_out == list(range(40 - 17)), reply.json()


def test_schemathesis_finds_no_5xx_and_nothing_undocumented(tmp_path):
    # [limits] deadline: an arbitrary deadline_ms must not make replies slow or different in kind.
    with Server(write_policy(tmp_path)) as server:
        done = subprocess.run(
            [str(SCHEMATHESIS), "run", server.url + "/openapi.json", "--checks", "all",
             "--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1",
             "--no-color"], capture_output=True, text=True, timeout=300, cwd=tmp_path,
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "h")})
        assert done.returncode == 0, done.stdout[-6000:]
        assert server.metric("parapet_requests_total") > 200
        assert server.stop() == 0
