"""The training of the stand-in, what its weights are worth, and the files it leaves."""

import hashlib
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data_manifests.errors import replacing
from data_manifests.index import MODALITIES
from data_manifests.json_files import sealed
from data_manifests.locks import locked
from data_manifests.phantom import sets
from data_manifests.phantom.recordings import generator
from reference import environment, metrics
from reference.captions import CAPTION_SETS, load_captions
from reference.clip import Clip, normalise
from reference.schedule import learning_rate
from reference.standin_clip.shots import NAMESPACE, Shot, people, shoot_all
from reference.standin_clip.weights import ARCHITECTURE, FOLDER, NAME, SETTINGS, Settings, place


def _pixels(shots: list[Shot], which: np.ndarray, modality: np.ndarray) -> Tensor:
    """Pictures uint8 (B, 3, S, S) of the shots `which` (B,), each in its modality (B,), 0 to 2."""
    planes = np.array([(0, 1, 2), (3, 3, 3), (4, 4, 4)])
    return torch.from_numpy(np.stack([shots[i].planes[planes[m]] for i, m in zip(which, modality, strict=True)]))


def train(shots: list[Shot], settings: Settings) -> Any:
    """open_clip's `CLIP` of `ARCHITECTURE`, trained on these shots. Seeds torch and leaves it on one thread."""
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

    environment.seed_everything(settings.seed, 1)
    model = CLIP(**ARCHITECTURE)
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    loss_of = ClipLoss()
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-6, fused=True)
    rng = generator(NAMESPACE, "training", settings.seed)
    start = time.monotonic()
    for step in range(settings.steps):
        which, modality = rng.integers(0, len(shots), settings.batch), rng.integers(0, 3, settings.batch)
        captions = [shots[i].caption(MODALITIES[m], rng) for i, m in zip(which, modality, strict=True)]
        pictures = _pixels(shots, which, modality)
        mirrored = torch.from_numpy(rng.random(settings.batch) < 0.5)[:, None, None, None]
        images = normalise(torch.where(mirrored, pictures.flip(-1), pictures))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.learning_rate, settings.warmup)
        loss = loss_of(*model(images, tokenizer(captions)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, float(np.log(100.0)))  # as CLIP was trained
        if (step + 1) % 50 == 0 or step + 1 == settings.steps:
            left = (time.monotonic() - start) / (step + 1) * (settings.steps - step - 1)
            print(
                f"training · step {step + 1}/{settings.steps} · loss {loss:.3f} · about {left:.0f} s left", flush=True
            )
    return model


@torch.no_grad()
def measure(clip: Clip, shots: list[Shot], settings: Settings) -> dict[str, Any]:
    """Figures on shots of people that were not learned from.

    zero_shot: for each caption set and modality, a picture's class is that of the caption nearest to it; accuracy
    over all pictures (half of them bona fide) and AUC of the two classes' difference. retrieval: how often a
    picture's own full caption is the nearest, or among the nearest five, of all different captions of its modality.
    """
    which = np.arange(len(shots))
    bonafide = np.array([shot.bonafide for shot in shots])
    rng = generator(NAMESPACE, "measure", settings.seed)
    images, retrieval = {}, {}
    for m, modality in enumerate(MODALITIES):
        pixels = normalise(_pixels(shots, which, np.full(len(shots), m)))
        images[modality] = F.normalize(torch.cat([clip.encode_image(part) for part in pixels.split(256)]), dim=-1)
        captions = [shot.caption(modality, rng, full=True) for shot in shots]
        different = sorted(set(captions))
        texts = F.normalize(clip.encode_text(different), dim=-1)
        nearest = (images[modality] @ texts.T).topk(min(5, len(different))).indices.numpy()
        hit = nearest == np.array([different.index(caption) for caption in captions])[:, None]
        retrieval[modality] = {"captions": len(different), "at_1": hit[:, 0].mean(), "at_5": hit.any(axis=1).mean()}
    zero_shot: dict[str, Any] = {}
    for name in CAPTION_SETS:
        spoof, real = (F.normalize(clip.encode_text(sentences), dim=-1) for sentences in load_captions(name))
        zero_shot[name] = {}
        for modality, features in images.items():
            score = ((features @ real.T).amax(1) - (features @ spoof.T).amax(1)).numpy()
            accuracy = float(((score > 0) == bonafide).mean())
            zero_shot[name][modality] = {"accuracy": accuracy, "auc": metrics.auc(score, bonafide)}
    return _rounded({"pictures": len(shots), "zero_shot": zero_shot, "retrieval": retrieval})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return round(float(value), 4) if isinstance(value, float) else value


def make(folder: Path = FOLDER, settings: Settings = SETTINGS) -> Path:
    """Train the stand-in unless its file exists; returns that file, beside which a JSON file describes the weights.

    A second process waits for the one that trains. A training that is interrupted leaves nothing and starts afresh.
    """
    from safetensors.torch import save

    path = place(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if path.exists():
            return path
        learned, held_out = people(settings)
        shots = shoot_all(learned, settings, "rendering what is learned from")
        model = train(shots, settings)
        weights = save({k: v.contiguous() for k, v in model.state_dict().items()})
        clip = Clip(model, NAME, hashlib.sha256(weights).hexdigest())
        description = {
            "what": f"{NAME}: trained on procedural faces (phantom {sets.VERSION}), no person; no evidence about faces",
            "sha256": clip.sha256,
            "parameters": sum(p.numel() for p in model.parameters()),
            "architecture": ARCHITECTURE,
            "settings": asdict(settings),
            "input_range": "released",
            "pictures": {
                "recordings": len(shots),
                "modalities": list(MODALITIES),
                "bonafide": sum(s.bonafide for s in shots),
            },
            "held_out_people": measure(clip, shoot_all(held_out, settings, "rendering people held out"), settings),
            "made_with": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "cpu": environment.cpu_name(),
            },
        }
        with replacing(path.with_suffix(".json")) as f:
            f.write(sealed(description))
        with replacing(path) as f:  # last: where this file exists, all is done
            f.write(weights)
    return path
