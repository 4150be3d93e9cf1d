"""policies/sample_world.toml end to end: heads trained on a small built world, then `parapet guard
check` with their thresholds by name. Scores against the heads computed again in PyTorch."""
import json
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file

from clip_probe import PARAPET, ROOT
from guard_support import SIDES, embed, run, samples, train
from harden_support import write_model
from serve_support import png

torch.set_num_threads(1)
CATEGORIES = ["weapon", "death", "alcohol", "drugs", "gesture", "fire", "hazard"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The repository's layout after `make demo`, with a world of a minute's worth of samples."""
    site = tmp_path_factory.mktemp("site")
    run("world", "build", "--out", site / "labels", "--quadruplets", "0", "--captions", "0",
        "--labels", "600", "--val", "400", "--test", "60", "--seed", "3", "--threads", "2")
    model = site / "out/demo/clip/model"
    model.mkdir(parents=True)
    write_model(model)
    train(model, site / "labels", site / "out/demo/guard", "--epochs", "60", "--batch-size", "64")
    (site / "policies").mkdir()
    for name in ("sample_world.toml", "taxonomy.toml"):
        shutil.copy(ROOT / "policies" / name, site / "policies" / name)
    # The reference computes in float32 with PyTorch.
    policy = site / "policies/sample_world.toml"
    policy.write_text(policy.read_text().replace(
        "[clip]\n", '[clip]\nbackend = "torch"\nprecision = "fp32"\n', 1))
    return site


def check(policy, *flags, code=0):
    return run("guard", "check", "--policy", policy, "--no-audit", *flags, code=code)


def reference(heads, image, text):
    """{score key of the heads: probabilities}: image.fire, joint.harm, contradiction ..."""
    info = json.loads((heads / "guard_heads.json").read_text())
    w = load_file(heads / "guard_heads.safetensors")
    root, count = image.shape[1] ** 0.5, len(info["categories"])
    joint = torch.cat([image * root, text * root, image * text * image.shape[1],
                       (image - text).abs() * root], 1)

    def network(name, x):
        hidden = torch.nn.functional.gelu(x @ w[f"{name}.fc1.weight"].T + w[f"{name}.fc1.bias"])
        return hidden @ w[f"{name}.fc2.weight"].T + w[f"{name}.fc2.bias"]

    logits = {"image": network("image", image * root), "text": network("text", text * root)}
    pair, gain = network("joint", joint), w["joint.side_gain"]
    either = torch.logaddexp(logits["image"] * gain[0], logits["text"] * gain[1])
    logits["joint"] = torch.logaddexp(pair[:, :count + 1] + either, network("implicit", joint))
    columns = {f"{side}.{name}": logits[side][:, i] for side in SIDES
               for i, name in enumerate([*info["categories"], "harm"])}
    columns["contradiction"] = (pair[:, count + 1] +
                                w["contradiction.cosine_gain"] * (image * text).sum(1))
    for name, column in columns.items():
        fit = info["calibration"].get(name, {"kind": "none", "scale": 1, "shift": 0})
        assert fit["kind"] in ("scaled", "none")
        columns[name] = torch.sigmoid(column.double() * fit["scale"] + fit["shift"]).tolist()
    return info, columns


def key_of(category, modality):
    return category if category == "contradiction" else (
        f"{modality}.{'harm' if category == 'any_harm' else category}")


@pytest.fixture(scope="module")
def checked(site, tmp_path_factory):
    """Test rows, their decisions, and what the heads give for each."""
    folder = tmp_path_factory.mktemp("checked")
    rows = [row for row in samples(site / "labels", "test") if "image" in row and "text" in row]
    items = folder / "items.jsonl"
    items.write_text("".join(json.dumps({"id": row["id"], "text": row["text"], "image":
                                         str(site / "labels" / row["image"])}) + "\n" for row in rows))
    check(site / "policies/sample_world.toml", "--input", items, "--out", folder / "out.jsonl")
    decisions = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [d["id"] for d in decisions] == [row["id"] for row in rows]
    image, text = embed(site / "out/demo/clip/model", site / "labels", rows, folder, "--precision", "fp32")
    info, scores = reference(site / "out/demo/guard/heads", image, text)
    return rows, decisions, info, scores


def test_every_score_is_the_heads(checked):
    rows, decisions, info, scores = checked
    assert len(rows) >= 40 and set(info["categories"]) == set(CATEGORIES)
    for i, decision in enumerate(decisions):
        assert decision["complete"] and [p["state"] for p in decision["parts"]] == ["scanned"] * 2
        got = {key_of(s["category"], s["modality"]): s["score"]
               for s in decision["scores"] if s["signal"] == "clip.heads"}
        assert set(got) == set(scores)
        for name, value in got.items():
            assert abs(value - scores[name][i]) < 1e-4, (decision["id"], name)
        [agreement] = [s for s in decision["scores"] if s["signal"] == "clip.consistency"]
        assert agreement["category"] == "disagreement" and agreement["modality"] == "joint"


ORDER = ["allow", "flag", "modify", "block"]


def expected(decision, thresholds, shift):
    """Action, shadow action and review, from the scores by the policy's own words. Decisions show
    six digits: `shift` moves them to either side of a threshold that they seem to equal."""
    action = shadow = "allow"
    review = False
    for score in decision["scores"]:
        category, value = score["category"], score["score"] + shift
        at = thresholds.get(key_of(category, score["modality"]))
        if category == "disagreement":
            at = {"fpr1": 0.99}
        pair = (category, score["modality"]) == ("any_harm", "joint")
        flag, block = (at["best_f1"], at["fpr1"]) if pair else (at["fpr1"], None)
        hit = ("block" if block is not None and value >= block else
               "flag" if value >= flag else "allow")
        shadow = max(shadow, hit, key=ORDER.index)
        if category != "any_harm":
            continue  # recorded, not enforced
        action = max(action, hit, key=ORDER.index)
        review |= hit != "block" and at["review_low"] <= value < at["review_high"]
    return action, shadow, review


def test_decisions_follow_the_named_thresholds(checked):
    _, decisions, info, _ = checked
    thresholds, seen = info["thresholds"], set()
    for decision in decisions:
        for category in decision["categories"]:
            if category["category"] not in CATEGORIES:
                continue
            at = thresholds[key_of(category["category"], category["decided_by"])]["fpr1"]
            assert abs(category["flag_at"] - at) < 1e-6 and category["block_at"] is None
            assert category["flag_from"] == "fpr1" and "block_from" not in category
            over = [value - thresholds[key_of(category["category"], modality)]["fpr1"]
                    for modality, value in category["scores"].items()]
            if min(map(abs, over)) > 1e-6:
                assert category["shadow_action"] == ("flag" if max(over) > 0 else "allow")
                assert category["action"] == "allow"
        low, high = (expected(decision, thresholds, shift) for shift in (-1e-6, 1e-6))
        for i, name in enumerate(("action", "shadow_action")):
            assert ORDER.index(low[i]) <= ORDER.index(decision[name]) <= ORDER.index(high[i])
            if low[i] == high[i]:
                seen.add(decision[name])
        assert decision["review"] in (low[2], high[2])
    assert {"allow", "flag", "block"} <= seen, seen  # the thresholds really divide these samples


def test_one_side_alone_and_a_profile(site, checked):
    rows, _, info, scores = checked
    row, policy = rows[0], site / "policies/sample_world.toml"
    done = check(policy, "--text", row["text"], "--profile", "strict", "--json")
    decision = json.loads(done.stdout.splitlines()[-1])
    assert {s["modality"] for s in decision["scores"]} == {"text"}
    [harm] = [c for c in decision["categories"] if c["category"] == "any_harm"]
    assert abs(harm["score"] - scores["text.harm"][0]) < 1e-4
    assert abs(harm["block_at"] - info["thresholds"]["text.harm"]["best_f1"]) < 1e-6
    assert abs(harm["flag_at"] - info["thresholds"]["text.harm"]["recall95"]) < 1e-6
    assert (harm["flag_from"], harm["block_from"]) == ("recall95", "best_f1")


def test_a_name_without_a_threshold_is_refused_with_its_line(site, tmp_path):
    policy = site / "policies/refused.toml"
    text = (site / "policies/sample_world.toml").read_text()
    policy.write_text(text + '[category.profanity]\nflag = "fpr1"\n')
    line = len(policy.read_text().splitlines())
    done = check(policy, "--text", "x", code=2)
    assert f"refused.toml:{line}: 'category.profanity.flag' = \"fpr1\" cannot stand" in done.stderr
    policy.write_text(text.replace('heads = "../out/demo/guard"', ""))
    done = check(policy, "--text", "x", code=2)
    assert "is a threshold of trained heads" in done.stderr
    line = text.splitlines().index("[category.weapon]") + 2
    assert f"refused.toml:{line}: 'category.weapon.flag' = \"fpr1\"" in done.stderr


def test_the_shipped_policy_runs_as_it_is(site):
    policy = site / "policies/shipped.toml"
    shutil.copy(ROOT / "policies/sample_world.toml", policy)
    done = subprocess.run([PARAPET, "guard", "check", "--policy", str(policy), "--text",
                           "a man with a balloon", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["policy"]["name"] == "sample_world"


def test_the_commented_clip_block_of_balanced_works(site):
    lines = (ROOT / "policies/balanced.toml").read_text().splitlines()
    first = lines.index("# [clip]")
    last = next(i for i in range(first, len(lines)) if not lines[i].strip())
    opened = [line[2:] if first <= i < last or line.startswith(("# flag = ", "# block = ")) else line
              for i, line in enumerate(lines)]
    assert sum(a != b for a, b in zip(lines, opened)) >= 15
    policy = site / "policies/balanced.toml"
    policy.write_text("\n".join(opened) + "\n")
    for link, target in (("models/clip", "out/demo/clip/model"), ("runs/guard", "out/demo/guard")):
        (site / link).parent.mkdir()
        (site / link).symlink_to(site / target)
    picture = site / "picture.png"
    picture.write_bytes(png())
    done = check(policy, "--text", "a wall covered in graffiti", "--image", picture, "--json")
    decision = json.loads(done.stdout.splitlines()[-1])
    assert decision["complete"]
    found = {(s["category"], s["signal"]) for s in decision["scores"]}
    assert {("vandalism", "clip.zeroshot"), ("any_harm", "clip.heads"), ("weapon", "clip.heads"),
            ("contradiction", "clip.heads"), ("disagreement", "clip.consistency")} <= found
    [harm] = [c for c in decision["categories"] if c["category"] == "any_harm"]
    thresholds = json.loads((site / "out/demo/guard/heads/guard_heads.json").read_text())["thresholds"]
    at = thresholds[f"{harm['decided_by']}.harm"]
    assert abs(harm["flag_at"] - at["recall95"]) < 1e-6 and abs(harm["block_at"] - at["fpr1"]) < 1e-6
