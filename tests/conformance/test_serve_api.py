"""`parapet serve` as clients see it: the official `openai` client, LiteLLM's payloads, our own API,
operations, keys."""
import asyncio
import base64
import hashlib
import io
import json
import signal
import subprocess

import openai
import pytest
from PIL import Image

from clip_probe import PARAPET
from harden_support import write_model
from serve_support import CLIP, Server, data_uri, image, png, text, write_policy

OPENAI = ["harassment", "harassment/threatening", "hate", "hate/threatening", "illicit",
          "illicit/violent", "self-harm", "self-harm/intent", "self-harm/instructions", "sexual",
          "sexual/minors", "violence", "violence/graphic"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    (folder / "model").mkdir()
    write_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    policy = write_policy(folder, CLIP.format(model=folder / "model"))
    with Server(policy, "--readiness-seconds", 0.2) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def test_openai_string(client):
    reply = client.moderations.create(input="a table with flowers")
    assert reply.id.startswith("modr-") and reply.model == "parapet-serve-test"
    [result] = reply.results
    assert not result.flagged
    scores = result.category_scores.model_dump(by_alias=True)
    assert set(OPENAI) <= set(scores) and all(0 <= scores[name] <= 1 for name in OPENAI)
    # The random CLIP looked at the text for weapons, which is illicit/violent and illicit.
    types = result.category_applied_input_types.model_dump(by_alias=True)
    assert types["illicit/violent"] == ["text"] and types["sexual"] == []


def test_openai_list_of_strings_has_a_result_each(client):
    reply = client.moderations.create(input=["fine", "qblockedq here", "q n o t e d q"])
    assert [r.flagged for r in reply.results] == [False, True, True]
    blocked = reply.results[1]
    assert blocked.categories.illicit_violent and blocked.category_scores.illicit_violent == 1
    assert not blocked.categories.harassment
    # A list looked for it and found nothing; nothing looks for the other.
    types = blocked.category_applied_input_types.model_dump(by_alias=True)
    assert types["harassment"] == ["text"] and types["violence/graphic"] == []
    assert blocked.parapet["action"] == "block" and reply.results[2].parapet["action"] == "flag"
    assert blocked.parapet["rules"][0]["rule"] == "blocked"


def test_openai_parts_with_several_images(client):
    reply = client.moderations.create(model="omni-moderation-latest", input=[
        {"type": "text", "text": "two pictures"},
        {"type": "image_url", "image_url": {"url": data_uri(png())}},
        {"type": "image_url", "image_url": {"url": data_uri(png(color=(0, 0, 0)))}}])
    [result] = reply.results
    decision = result.parapet
    assert [p["state"] for p in decision["parts"]] == ["scanned"] * 3
    assert decision["parts"][1]["label"] == "input[1]" and decision["parts"][1]["width"] == 64
    assert result.category_applied_input_types.illicit_violent == ["text", "image"]
    assert decision["complete"] and reply.parapet["unknown_fields"] == []


def test_openai_client_options_and_unknown_fields(client):
    reply = client.moderations.create(
        input="hello", extra_body={"user": "u", "parapet": {"side": "output", "profile": "news",
                                                             "id": "mine", "wrong": 1}})
    assert reply.parapet["unknown_fields"] == ["parapet.wrong", "user"]
    decision = reply.results[0].parapet
    assert (decision["side"], decision["profile"], decision["id"]) == ("output", "news", "mine")


def test_openai_types_field_by_field(server, client):
    """The client builds its objects without a look at them; here every field meets its type."""
    reply = server.post("/v1/moderations", {"input": ["fine", "qblockedq"]}).json()
    checked = openai.types.ModerationCreateResponse.model_validate(reply, strict=True)
    for result in checked.results:
        for part in (result, result.categories, result.category_scores,
                     result.category_applied_input_types):
            missing = set(type(part).model_fields) - part.model_fields_set
            assert not missing, missing
    raw = client.moderations.with_raw_response.create(input="qblockedq")
    assert raw.headers["x-request-id"] and raw.parse().results[0].flagged
    with client.moderations.with_streaming_response.create(input=["a", "b"]) as stream:
        assert len(stream.parse().results) == 2


def test_openai_async_client(server):
    async def ask():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none") as client:
            return await asyncio.gather(*(client.moderations.create(input=f"text {i}")
                                          for i in range(8)))

    replies = asyncio.run(ask())
    assert len({reply.id for reply in replies}) == 8


def test_openai_errors_are_the_clients_own(client):
    for wrong, field in (({}, "input"), ([], "input"), ([{"text": "x"}], "input[0].type")):
        with pytest.raises(openai.BadRequestError) as caught:
            client.moderations.create(input=wrong)
        assert caught.value.type == "invalid_request_error" and caught.value.param == field
    with pytest.raises(openai.BadRequestError) as caught:
        client.moderations.create(input="x", extra_body={"parapet": {"profile": "nope"}})
    assert "nope" in caught.value.message and "news" in caught.value.message
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="m", input="x")


def litellm(server, **body):
    payload = {"texts": [], "images": None, "tools": None, "tool_calls": None,
               "structured_messages": None, "request_data": {"user_api_key_hash": "h",
                                                              "user_api_key_user_email": None},
               "request_headers": {"user-agent": "[present]"}, "litellm_version": "1.80.0",
               "additional_provider_specific_params": {}, "input_type": "request",
               "litellm_call_id": "call-1", "litellm_trace_id": None, "model": "gpt-5", **body}
    reply = server.post("/beta/litellm_basic_guardrail_api", payload)
    assert reply.status == 200, reply.body
    return reply.json()


def test_litellm_none(server):
    reply = litellm(server, texts=["hello", "there"])
    assert reply["action"] == "NONE" and "texts" not in reply and "blocked_reason" not in reply
    assert reply["parapet"]["id"] == "call-1" and reply["parapet"]["unknown_fields"] == []
    assert litellm(server)["action"] == "NONE"
    assert litellm(server, texts=["qnotedq"])["action"] == "NONE"


def test_litellm_blocked(server):
    reply = litellm(server, texts=["fine", "qblockedq"], input_type="response")
    assert reply["action"] == "BLOCKED" and reply["blocked_reason"]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"qblockedq"}'}}
    assert litellm(server, texts=["fine"], tool_calls=[call])["action"] == "BLOCKED"


def test_litellm_intervened_returns_every_text_in_place(server):
    reply = litellm(server, texts=["first", "say qmaskedq now", "last"])
    assert reply["action"] == "GUARDRAIL_INTERVENED"
    first, changed, last = reply["texts"]
    assert (first, last) == ("first", "last")
    assert changed.startswith("say ") and changed.endswith(" now") and "qmaskedq" not in changed


def test_litellm_images_bare_or_as_uri(server):
    bare = base64.b64encode(png()).decode()
    reply = litellm(server, texts=["see"], images=[bare, data_uri(png())])
    assert [p["state"] for p in reply["parapet"]["parts"]] == ["scanned"] * 3
    reply = litellm(server, images=["!!! not base64"])
    assert reply["action"] == "BLOCKED" and not reply["parapet"]["complete"]


def test_own_api_gives_the_whole_decision(server):
    reply = server.guard(text("qnotedq"), image(png()), id="own-1", typo=1)
    assert reply.status == 200 and reply.headers["X-Request-Id"]
    decision = reply.json()
    assert decision["id"] == "own-1" and decision["action"] == "flag" and decision["complete"]
    assert decision["unknown_fields"] == ["typo"]
    weapons = next(c for c in decision["categories"] if c["category"] == "weapons")
    assert set(weapons["scores"]) >= {"text", "image"} and weapons["flag_at"] == 0.9999
    assert {m["name"] for m in decision["models"]} and decision["policy"]["name"] == "serve-test"
    assert any(t["level"] == "clip" for t in decision["timings"])


def test_own_api_explains_on_request(server):
    decision = server.guard(image(png(64, 64)), explain=True, profile="sharp").json()
    assert decision["explanations"], decision
    picture = Image.open(io.BytesIO(base64.b64decode(decision["explanations"][0]["png_base64"])))
    assert picture.size[0] > 0
    assert "explanations" not in server.guard(image(png())).json()


def test_a_hundred_parts(server):
    reply = server.guard(*[text(f"part {i}") for i in range(60)], image(png()))
    assert reply.status == 200 and len(reply.json()["parts"]) == 61
    many = server.guard(*[text("x")] * 100).json()  # the policy takes 64
    assert not many["complete"] and many["action"] == "block"
    assert any(f["reason"] == "too_many_parts" for f in many["not_scanned"])
    assert server.guard(*[text("x")] * 300).error["code"] == "too_many_parts"


def test_deadline_in_the_request(server):
    decision = server.guard(*[image(png(1500, 1500, (i, 0, 0))) for i in range(8)],
                            deadline_ms=1).json()
    assert not decision["complete"] and decision["action"] == "block"
    assert {f["reason"] for f in decision["not_scanned"]} == {"deadline"}


def test_health_metrics_and_methods(server):
    assert server.get("/healthz").json()["status"] == "ok"
    assert server.get("/readyz").json() == {"ready": True, "problems": []}
    head = server.request("HEAD", "/healthz")
    assert head.status == 200 and head.body == b""
    refused = server.get("/v1/guard")
    assert refused.status == 405 and refused.headers["Allow"] == "POST"
    assert server.get("/nothing").status == 404
    before = server.metric("parapet_decisions_total", endpoint="/v1/guard", action="block")
    server.guard(text("qblockedq"))
    after = server.metric("parapet_decisions_total", endpoint="/v1/guard", action="block")
    assert after == before + 1
    server.guard({"type": "image_url", "image_url": "https://example.org/x.png"})
    assert server.metric("parapet_scan_failures_total", reason="host_not_allowed") == 1
    assert server.metric("parapet_stage_seconds_count", stage="clip") > 0
    assert server.metric("parapet_model_info") >= 1
    assert server.metric("parapet_policy_info", name="serve-test") == 1
    page = server.get("/metrics").body.decode()
    assert 'parapet_request_seconds_bucket{endpoint="/v1/guard",le="0.001"} ' in page


def test_browsers_of_other_sites_are_refused(server):
    body = {"parts": [text("x")]}
    own = {"Origin": server.url}
    assert server.post("/v1/guard", body, own).status == 200
    assert server.post("/v1/guard", body, {"Origin": "https://evil.example"}).status == 403
    assert server.request("POST", "/v1/guard", json.dumps(body),
                          {"Content-Type": "text/plain"}).status == 415


def test_policy_reload_by_endpoint_and_signal(folder, tmp_path):
    policy = write_policy(tmp_path)
    with Server(policy) as server:
        first = server.guard(text("qlaterq")).json()
        assert first["action"] == "allow"
        later = '[[rules.list]]\nname = "later"\nentries = ["qlaterq"]\ncategory = "theft"\n' \
                'action = "block"\n'
        write_policy(tmp_path, later)
        reply = server.request("POST", "/v1/policy/reload").json()
        assert reply["previous"]["hash"] == first["policy"]["hash"] != reply["policy"]["hash"]
        assert server.guard(text("qlaterq")).json()["action"] == "block"

        policy.write_text(policy.read_text() + "\n[limits2]\n[[rules.list]]\nname = 3\n")
        bad = server.request("POST", "/v1/policy/reload")
        assert bad.status == 422 and bad.error["code"] == "bad_policy"
        assert "limits2" in bad.error["message"] and "rules.list" in bad.error["message"]
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: "".join(server.log).count("policy refused") >= 2)
        assert server.guard(text("qlaterq")).json()["policy"] == reply["policy"]

        write_policy(tmp_path)
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: server.guard(text("qlaterq")).json()["action"] == "allow")
        assert server.stop() == 0


def test_api_keys(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hashlib.sha256(b'first').hexdigest()} team-a\n")
    policy = write_policy(tmp_path, '[tenants]\nteam-a = "sharp"\n')
    with Server(policy, "--api-keys", keys) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="first", max_retries=0)
        result = client.moderations.create(input="x").results[0]
        assert (result.parapet["tenant"], result.parapet["profile"]) == ("team-a", "sharp")
        # Neither a request nor what a gateway's caller adds chooses a laxer profile.
        lax = {"profile": "news", "tenant": "other"}
        result = client.moderations.create(input="x", extra_body={"parapet": lax}).results[0]
        assert (result.parapet["tenant"], result.parapet["profile"]) == ("team-a", "sharp")
        reply = server.post("/beta/litellm_basic_guardrail_api", {
            "input_type": "request", "texts": ["x"], "additional_provider_specific_params": lax},
            {"x-api-key": "first"}).json()
        assert reply["parapet"]["profile"] == "sharp"
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").moderations.create(input="x")
        for path in ("/healthz", "/readyz", "/", "/openapi.json"):
            assert server.get(path).status == 200
        assert server.get("/metrics").status == 401
        assert server.get("/metrics", **{"x-api-key": "first"}).status == 200
        assert server.request("POST", "/v1/policy/reload").status == 401
        keys.write_text(f"alice {hashlib.sha256(b'second').hexdigest()}\n")
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: server.get("/metrics", Authorization="Bearer second").status == 200)
        assert server.get("/metrics", Authorization="Bearer first").status == 401


def run(*arguments):
    return subprocess.run([str(PARAPET), "serve", *map(str, arguments)], capture_output=True,
                          text=True, timeout=60)


def test_start_refuses_with_the_right_code(tmp_path):
    policy = write_policy(tmp_path)
    open_to_all = run("--policy", policy, "--listen", "0.0.0.0:0")
    assert open_to_all.returncode == 2 and "--api-keys" in open_to_all.stderr
    assert run("--policy", policy, "--listen", "nowhere").returncode == 2
    assert run("--policy", tmp_path / "none.toml").returncode in (2, 3)
    bad = write_policy(tmp_path, "[limits3]\n[audit]\n", "bad.toml")
    done = run("--policy", bad)
    assert done.returncode == 2 and "limits3" in done.stderr and "audit" in done.stderr
    assert run("--policy", policy, "--queue", "-1", "--workers", "5000").stderr.count("--") >= 2
    assert run("--policy", policy, "--check-only").returncode == 0
    help_text = run("--help")
    assert help_text.returncode == 0 and "/v1/moderations" in help_text.stdout
