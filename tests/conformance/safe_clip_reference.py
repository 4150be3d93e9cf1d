"""The hardening objectives in PyTorch on a `transformers` CLIP with `peft` adapters, written from the
papers' formulas without a look at Parapet's code. The reference is a second, untouched model."""
import os
from typing import NamedTuple

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import torch.nn.functional as F

PUBLISHED_TARGETS = ["k_proj", "v_proj", "out_proj", "fc1", "fc2", "patch_embedding"]
WIDE_TARGETS = PUBLISHED_TARGETS + ["q_proj", "text_projection", "visual_projection"]
EIGHT = ["text_safe", "text_nsfw", "vision_safe", "vision_nsfw", "S_Vref", "U_Vref", "V_Sref",
         "G_Sref"]
PUBLISHED_WEIGHTS = [.1, .1, .1, .2, .25, .25, .25, .5]
ORDERED_WEIGHTS = [.5, .5, .5, 1., .5, .25, .5, .5]


class Quads(NamedTuple):
    """Embeddings of safe texts, unsafe texts, safe images, unsafe images; not normalised."""
    s: torch.Tensor
    u: torch.Tensor
    v: torch.Tensor
    g: torch.Tensor


def embed(model, ids, pixels):
    """ids [2n, t] and pixels [2n, 3, h, w] hold the safe items first."""
    texts = model.get_text_features(input_ids=ids).pooler_output
    images = model.get_image_features(pixel_values=pixels).pooler_output
    return Quads(*texts.chunk(2), *images.chunk(2))


def cos(a, b):
    return F.cosine_similarity(a, b, dim=-1)


def info_nce(a, b, scale):
    logits = scale * F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
    rows = -logits.log_softmax(1).diagonal().mean()
    columns = -logits.log_softmax(0).diagonal().mean()
    return (rows + columns) / 2


def eight_terms(x, ref, scale):
    return dict(zip(EIGHT, [
        1 - cos(x.s, ref.s).mean(), 1 - cos(x.u, ref.s).mean(),
        1 - cos(x.v, ref.v).mean(), 1 - cos(x.g, ref.v).mean(),
        info_nce(x.s, ref.v, scale), info_nce(x.u, ref.v, scale),
        info_nce(x.v, ref.s, scale), info_nce(x.g, ref.s, scale)]))


def weighted(terms, weights):
    total = sum(weights)
    return sum(w / total * terms[name] for name, w in zip(EIGHT, weights))


def safe_clip(x, ref, scale, **_):
    terms = eight_terms(x, ref, scale)
    return weighted(terms, PUBLISHED_WEIGHTS) / 8, terms


def ordered(x, ref, scale, k=20., margin=.02, weight=.5, **_):
    def sp(low, high):
        return torch.log1p(torch.exp(k * (low - high + margin))).mean() / k

    terms = eight_terms(x, ref, scale)
    loss = weighted(terms, ORDERED_WEIGHTS)
    terms["order_new"] = (sp(cos(x.u, x.g), cos(x.u, x.v)) + sp(cos(x.g, x.u), cos(x.g, x.s)) +
                          sp(cos(x.s, x.g), cos(x.s, x.v)) + sp(cos(x.v, x.u), cos(x.v, x.s)))
    terms["order_old"] = (sp(cos(x.u, ref.g), cos(x.u, ref.v)) +
                          sp(cos(x.g, ref.u), cos(x.g, ref.s)))
    return loss + weight * (terms["order_new"] + terms["order_old"]), terms


class Targets(NamedTuple):
    """Of the whole training set under the original model: the nearest safe text of every unsafe
    text, the nearest safe image of every unsafe image, and how hard each pair is in [0, 1)."""
    text: list
    image: list
    difficulty: list


def find_targets(everything):
    s, u, v, g = (F.normalize(part, dim=-1) for part in everything)
    by_text, by_image = u @ s.T, g @ v.T
    ease = (by_text.max(1).values + by_image.max(1).values).tolist()
    harder_than = [sum(other > mine for other in ease) / len(ease) for mine in ease]
    return Targets(by_text.argmax(1).tolist(), by_image.argmax(1).tolist(), harder_than)


def safer_clip(x, ref, scale, targets, everything, rows, progress, **_):
    admitted = (1 + min(2, int(progress * 9))) / 3
    active = [i for i, row in enumerate(rows) if targets.difficulty[row] <= admitted]
    text_t = [targets.text[rows[i]] for i in active]
    image_t = [targets.image[rows[i]] for i in active]
    u, g = x.u[active], x.g[active]
    terms = {
        "text_safe": 1 - cos(x.s, ref.s).mean(),
        "vision_safe": 1 - cos(x.v, ref.v).mean(),
        "text_redirect": (1 - cos(u, everything.s[text_t])).sum(),
        "vision_redirect": (1 - cos(g, everything.v[image_t])).sum(),
        "text_relative": F.softplus(cos(u, ref.g[active]) - cos(u, everything.v[text_t])).sum(),
        "vision_relative": F.softplus(cos(g, ref.u[active]) - cos(g, everything.s[image_t])).sum(),
    }
    for name in list(terms)[2:]:
        terms[name] = terms[name] / max(1, len(active))
    return sum(terms.values()), terms


def shield_clip(x, ref, scale, text_unsafe, image_unsafe, **_):
    def rows(text, image):
        return [i for i, pair in enumerate(zip(text_unsafe, image_unsafe))
                if (text is None or pair[0] == text) and (image is None or pair[1] == image)]

    def over(group, term):
        return term(group) if group else torch.zeros(())

    terms = {
        "preserve_real": 1 - cos(x.s, ref.s).mean() + 1 - cos(x.v, ref.v).mean() +
        info_nce(x.s, ref.v, scale) + info_nce(x.v, ref.s, scale),
        "preserve_generated": over(rows(False, False), lambda r: (
            1 - cos(x.u[r], ref.u[r]).mean() + 1 - cos(x.g[r], ref.g[r]).mean() +
            info_nce(x.u[r], ref.g[r], scale) + info_nce(x.g[r], ref.u[r], scale))),
        "redirect_text": over(rows(True, None), lambda r: 1 - cos(x.u[r], ref.s[r]).mean()),
        "redirect_vision": over(rows(None, True), lambda r: 1 - cos(x.g[r], ref.v[r]).mean()),
        "mixed_text": over(rows(True, False), lambda r: info_nce(x.u[r], ref.g[r], scale)),
        "mixed_vision": over(rows(False, True), lambda r: info_nce(x.g[r], ref.u[r], scale)),
        "coherence": over(rows(True, True), lambda r: info_nce(x.u[r], x.g[r], scale)),
    }
    weights = [.1, .1, .1, .1, .25, .25, .25]
    return sum(w * term for w, term in zip(weights, terms.values())), terms


OBJECTIVES = dict(safe_clip=safe_clip, ordered=ordered, safer_clip=safer_clip,
                  shield_clip=shield_clip)


def bare(name):
    """A peft parameter name as adapter_model.safetensors has it, without "base_model.model."."""
    return name.removeprefix("base_model.model.").replace(".default", "")


def harden(original, tuned, ids, pixels, objective, steps, lr, **extra):
    """Trains `tuned` (a PeftModel whose base started as a copy of `original`) on one full batch per
    step with Adam. Per step {"loss", terms...}; gradients at step 0 and final weights by name."""
    with torch.no_grad():
        ref = embed(original, ids, pixels)
    scale = original.logit_scale.detach().exp().item()
    n = len(ids) // 2
    extra = dict(extra, everything=ref, rows=list(range(n)))
    if objective == "safer_clip":
        extra["targets"] = find_targets(ref)
    adapters = {bare(name): p for name, p in tuned.named_parameters() if p.requires_grad}
    assert adapters and all("lora_" in name for name in adapters)
    optimizer = torch.optim.Adam(adapters.values(), lr=lr)
    history, gradients = [], {}
    for step in range(steps):
        optimizer.zero_grad()
        x = embed(tuned.get_base_model(), ids, pixels)
        loss, terms = OBJECTIVES[objective](x, ref, scale, progress=step / steps, **extra)
        loss.backward()
        if step == 0:
            gradients = {name: p.grad.clone() for name, p in adapters.items()}
        history.append({"loss": loss.item()} | {name: t.item() for name, t in terms.items()})
        optimizer.step()
    return history, gradients, {name: p.detach().clone() for name, p in adapters.items()}, ref
