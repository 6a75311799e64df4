"""The whole contract implemented a second time, in torch and numpy, to try the public suite on.

It shares no line with `reference` nor with the formula oracles: index arithmetic and einsum where those loop, Gumbel
noise where those count, sorted arrays where those scan. The suite must pass it, and must fail each of its bugs, which
second_implementation_bugs.py lists.
"""

import math

import numpy as np
import torch


def similarity(a, b, normalise=True):
    dots = torch.einsum("ik,jk->ij", a, b)
    if not normalise:
        return dots
    return dots / torch.outer(a.pow(2).sum(-1).sqrt(), b.pow(2).sum(-1).sqrt())


def match_probabilities(s, tau):
    scaled = s / tau
    return torch.exp(scaled - torch.logsumexp(scaled, dim=1, keepdim=True))


def icl_loss(f_rgb, f_depth, f_ir, tau, normalise=True):
    terms = []
    for other in (f_depth, f_ir):
        scaled = similarity(f_rgb, other, normalise) / tau
        own = scaled.diagonal()
        terms.append((scaled.logsumexp(dim=1) - own).mean())
        terms.append((scaled.logsumexp(dim=0) - own).mean())
    return 0.5 * torch.stack(terms).sum()


def same_class(label_a, label_b):
    return torch.eq(label_a, label_b).to(torch.int64)


def cm_loss(logits_rd, same_rd, logits_ri, same_ri):
    loss = logits_rd.new_zeros(())
    for logits, same in ((logits_rd, same_rd), (logits_ri, same_ri)):
        margin = (logits[:, 1] - logits[:, 0]) * (2 * same - 1)
        loss = loss + (-torch.nn.functional.logsigmoid(margin)).mean()
    return loss


def gumbel_choice(logits, allowed, generator):
    uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64, device=logits.device)
    noise = -torch.log(-torch.log(uniform.clamp_min(1e-300)))
    best = (logits.double() + noise).masked_fill(~allowed, -math.inf).argmax(dim=1)
    return torch.where(allowed.any(dim=1), best, torch.full_like(best, -1))


def mine_pairs(s, labels, generator):
    s = s.detach()
    same = labels.unsqueeze(1) == labels.unsqueeze(0)
    itself = torch.eye(len(labels), dtype=torch.bool, device=s.device)
    neg = gumbel_choice(s, ~same, generator)
    pos = gumbel_choice(-s, same & ~itself, generator)
    return neg, pos


def shallow_fusion(rgb_1, rgb_2):
    return torch.lerp(rgb_1, rgb_2, 0.5)


def attention(q, k, v):
    logits = torch.einsum("...td,...ud->...tu", q, k) / k.shape[-1] ** 0.5
    weights = torch.exp(logits - logits.logsumexp(dim=-1, keepdim=True))
    return torch.einsum("...tu,...ud->...td", weights, v)


def switch(streams, layer, order="RDI"):
    places = ["RDI".index(order[(layer + role) % 3]) for role in range(3)]
    return tuple(streams[place] for place in places)


def switch_attention(rgb, depth, ir, layer, wq, wk, wv, wo, bo, heads, order="RDI"):
    q_src, k_src, v_src = switch((rgb, depth, ir), layer, order)
    width = rgb.shape[-1]
    size = width // heads
    q = torch.einsum("btd,hed->bhte", q_src, wq.reshape(heads, size, width))
    k = torch.einsum("btd,hed->bhte", k_src, wk.reshape(heads, size, width))
    v = torch.einsum("btd,hed->bhte", v_src, wv.reshape(heads, size, width))
    logits = torch.einsum("bhte,bhue->bhtu", q, k) / math.sqrt(size)
    weights = torch.exp(logits - logits.logsumexp(dim=-1, keepdim=True))
    joined = torch.einsum("bhtu,bhue->bthe", weights, v).reshape(q_src.shape)
    return torch.einsum("btd,ed->bte", joined, wo) + bo


def total_loss(bce, icl, cm, alpha=1.0, beta=1.0):
    return bce + alpha * icl + beta * cm


def domain_partner(domains, generator, rule="random"):
    b = len(domains)
    same = domains[:, None] == domains[None, :]
    if rule == "random":
        lots = torch.rand(b, b, generator=generator, dtype=torch.float64, device=domains.device)
        return lots.masked_fill(~same, -1.0).argmax(dim=1)
    if rule == "first":
        return same.to(torch.int64).argmax(dim=1)
    return torch.arange(b, device=domains.device)


def lambda_full(lq1, lk1, lq2, lk2, lambda_init):
    return (lq1 * lk1).sum().exp() - (lq2 * lk2).sum().exp() + lambda_init


def differential_attention(q, k, v, q_dom, k_dom, lam, temperature):
    def attend(queries, keys):
        logits = torch.einsum("bhtd,bhud->bhtu", queries, keys) / temperature
        return torch.exp(logits - logits.logsumexp(dim=-1, keepdim=True))

    difference = attend(q, k) - lam * attend(q_dom, k_dom)
    return torch.einsum("bhtu,bhud->bhtd", difference, v)


def alignment_logits(v, captions, scale, pooling="max"):
    columns = []
    for texts in captions:
        lengths = torch.outer(v.norm(dim=1), texts.norm(dim=1))
        cosines = torch.einsum("id,jd->ij", v, texts) / lengths
        columns.append(cosines.amax(dim=1) if pooling == "max" else cosines.mean(dim=1))
    return torch.stack(columns, dim=1) * scale


def smooth_targets(labels, eps=0.1, normalised=True, classes=2):
    hot = torch.zeros(len(labels), classes, dtype=torch.float64, device=labels.device)
    hot[torch.arange(len(labels), device=labels.device), labels] = 1 - eps
    return hot + (eps / classes if normalised else eps)


def soft_cross_entropy(logits, targets):
    log_p = logits - logits.logsumexp(dim=-1, keepdim=True)
    return -torch.einsum("bc,bc->", targets, log_p) / len(logits)


def text_targets(classes, eps=0.1):
    spoof, real = [1 - eps, eps], [eps, 1 - eps]
    return torch.tensor([spoof, real], device=classes.device)[classes]


def rs2_loss(align_losses, visual_cls, text_cls):
    return torch.stack(list(align_losses)).sum() + visual_cls + text_cls


def u_dsa(v0, adapt, remap, rule="chained"):
    states = [v0]
    for layer in adapt:
        states.append(layer(states[-1]))
    depth = len(adapt)
    for step, place in enumerate(range(depth - 1, -1, -1)):
        below = states[depth + step] if rule == "chained" else states[place + 1]
        states.append(states[place] + remap[place](below))
    return states


def checked(scores, other):
    scores, other = np.asarray(scores), np.asarray(other)
    if len(scores) != len(other):
        raise ValueError("lengths differ")
    if len(scores) == 0:
        raise ValueError("no samples")
    if not np.isfinite(scores).all():
        raise ValueError("a score is NaN or infinite")
    return scores.astype(np.float64), other


def split(scores, bonafide):
    scores, bonafide = checked(scores, bonafide)
    genuine, attacks = np.sort(scores[bonafide]), np.sort(scores[~bonafide])
    if len(genuine) == 0:
        raise ValueError("no bona fide sample")
    if len(attacks) == 0:
        raise ValueError("no attack sample")
    return genuine, attacks


def far_frr(scores, bonafide, threshold):
    genuine, attacks = split(scores, bonafide)
    far = (len(attacks) - np.searchsorted(attacks, threshold, side="left")) / len(attacks)
    frr = np.searchsorted(genuine, threshold, side="left") / len(genuine)
    return float(far), float(frr)


def eer(scores, bonafide):
    genuine, attacks = split(scores, bonafide)
    grid = np.append(np.unique(np.concatenate((genuine, attacks))), np.inf)
    far = (len(attacks) - np.searchsorted(attacks, grid, side="left")) / len(attacks)
    frr = np.searchsorted(genuine, grid, side="left") / len(genuine)
    best = np.lexsort((grid, far + frr, np.abs(far - frr)))[0]
    return float((far[best] + frr[best]) / 2), float(grid[best])


def hter(scores, bonafide, threshold):
    genuine, attacks = split(scores, bonafide)
    return (np.mean(attacks >= threshold) + np.mean(genuine < threshold)) / 2


def auc(scores, bonafide):
    genuine, attacks = split(scores, bonafide)
    below = np.searchsorted(attacks, genuine, side="left")
    upto = np.searchsorted(attacks, genuine, side="right")
    return float((below + upto).sum() / (2 * len(genuine) * len(attacks)))


def threshold_at_bpcer(scores, bonafide, bpcer):
    genuine, attacks = split(scores, bonafide)
    grid = np.append(np.unique(np.concatenate((genuine, attacks))), np.inf)
    frr = np.searchsorted(genuine, grid, side="left") / len(genuine)
    return float(grid[frr <= bpcer][-1])


def apcer(scores, families, threshold):
    scores, families = checked(scores, families)
    names, which = np.unique(families, return_inverse=True)
    accepted = np.bincount(which, weights=scores >= threshold, minlength=len(names))
    return dict(zip(names.tolist(), (accepted / np.bincount(which)).tolist(), strict=True))


def acer(scores, bonafide, families, threshold):
    scores, families = checked(scores, families)
    genuine, _ = split(scores, bonafide)
    attacks = ~np.asarray(bonafide)
    worst = max(apcer(scores[attacks], families[attacks], threshold).values())
    return (worst + float(np.mean(genuine < threshold))) / 2


# A-DeepPixBis


def cosines_with(x, direction, normalise=True):
    dots = torch.tensordot(x, direction, dims=([1], [0]))
    lengths = x.square().sum(1).sqrt().clamp_min(1e-12)
    if normalise:
        lengths = lengths * direction.square().sum().sqrt()
    return dots / lengths


def margin_cross_entropy(cosines, bonafide, margin=0.5, side="bona_fide"):
    c = torch.clip(cosines, 1e-7 - 1, 1 - 1e-7)
    sines = (1 - c * c).sqrt()
    live = c if side == "attack" else c * math.cos(margin) - sines * math.sin(margin)
    attack = c if side == "bona_fide" else c * math.cos(margin) + sines * math.sin(margin)
    is_live = (bonafide == 1).reshape(len(bonafide), *(1 for _ in cosines.shape[1:]))
    return torch.where(is_live, torch.nn.functional.softplus(-live), torch.nn.functional.softplus(attack))


def attended_loss(costs, attention, reduction="mean"):
    weights = torch.exp(attention - torch.logsumexp(attention, dim=0)).reshape(costs.shape[1:])
    total = torch.einsum("bhw,hw->", costs, weights)
    return total / len(costs) if reduction == "mean" else total


# Conv-MLP


def crop_starts(side, patch, short=False):
    spare = (side - patch) // 2
    end = side - 1 if short else side
    first = spare - patch if spare > patch else 0
    last = end - patch if spare + 2 * patch > end else spare + patch
    return [first, spare, last]


def patches_of(images, patch, short=False):
    at = torch.tensor(crop_starts(images.shape[2], patch, short), device=images.device)
    windows = images.unfold(2, patch, 1).unfold(3, patch, 1)
    chosen = windows.index_select(2, at).index_select(3, at)
    return chosen.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def patch_mixing(x, scale, shift, w1, b1, w2, b2, norm):
    centred = x - x.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3), keepdim=True)
    within = centred / torch.sqrt(variance + 1e-5) * scale + shift
    once = torch.einsum("qp,nphw->nqhw", w1, within) + b1.view(-1, 1, 1)
    twice = torch.einsum("qp,nphw->nqhw", w2, once) + b2.view(-1, 1, 1)
    return norm(twice).clamp_min(0)


def moat_term(logits, label):
    total = logits.new_zeros(())
    for kind in (0, 1):
        own = logits[label == kind, kind]
        if len(own) > 0:
            total = total + torch.relu(1 - own).mean()
    return total


# PipeNet


def limited_frame_vote(scores, rule="sigma", skips=False):
    count, x = scores.numel(), scores.detach().to(torch.float64)

    def middle(values):
        ordered = torch.sort(values).values
        return (ordered[(count - 1) // 2] + ordered[count // 2]) * 0.5

    if rule == "trimmed":
        ranks = x.argsort().argsort()
        return scores[(ranks >= count // 10) & (ranks < count - count // 10)].mean()
    if rule == "sigma":
        squares = (x - x.sum() / count) ** 2
        stays = squares <= 9 * squares.sum() / count
    else:
        away = torch.abs(x - middle(x))
        stays = away <= 4.4478 * middle(away)
    if skips:
        places = torch.arange(1, count + 1, device=x.device)
        in_its_run = places - torch.cummax(places * stays, 0).values
        stays = in_its_run % 2 == 0
    return scores[stays].mean()


# FeatherNet


def focal_loss(logits, classes, gamma):
    own = logits[torch.arange(len(logits), device=logits.device), classes]
    surprise = torch.logsumexp(logits - own.unsqueeze(1), dim=1)
    doubt = -torch.expm1(-surprise)
    return torch.dot(doubt.pow(gamma), surprise) / len(logits)


def streaming_module(x, weight):
    height, width = x.shape[2:]
    framed = torch.nn.functional.pad(x, (1, 1, 1, 1))
    out = 0
    for row in range(3):
        for column in range(3):
            seen = framed[:, :, row : row + height : 2, column : column + width : 2]
            out = out + torch.einsum("bchw,c->bchw", seen, weight[:, 0, row, column])
    return out.reshape(len(x), -1)


def ensembled_score(scores, threshold):
    ordered = scores.sort(dim=1).values
    live = scores.sum(dim=1) > threshold * scores.shape[1]
    place = live * (scores.shape[1] - 1)
    return ordered.gather(1, place.unsqueeze(1)).squeeze(1)


def cascaded_score(depth, ir, certain):
    out = depth.clone()
    doubtful = (depth - 0.5).abs() < 0.5 - certain
    weight = torch.where(ir >= 0.5, 0.5, 1.0).to(depth.dtype)
    mixed = torch.lerp(depth, ir, weight)
    out[doubtful] = mixed[doubtful]
    return out


# FlexModal-FAS


def channel_cross_attention(x, rgb, scaled=False):
    logits = torch.einsum("bcn,bdn->bcd", x, rgb)
    if scaled:
        logits = logits * x.shape[2] ** -0.5
    weights = torch.exp(logits - logits.logsumexp(dim=2, keepdim=True))
    return torch.einsum("bcd,bdn->bcn", weights, rgb)


def drop_modalities(depth, ir, probability, generator):
    uniform = torch.rand(len(depth), 2, generator=generator, dtype=torch.float64, device=depth.device)
    kept = (uniform >= probability).to(depth.dtype)
    return tuple((x + 1) * kept[:, place].reshape(-1, 1, 1, 1) - 1 for place, x in enumerate((depth, ir)))


def cut_out(rgb, depth, ir, limit, generator):
    images = [rgb.clone(), depth.clone(), ir.clone()]
    count, _, height, width = rgb.shape
    uniform = torch.rand(count, 3, generator=generator, dtype=torch.float64, device=rgb.device).tolist()
    for sample, (a, b, c) in enumerate(uniform):
        y, x, half = int(a * height), int(b * width), (1 + int(c * (limit - 1))) // 2
        for image in images:
            image[sample, :, max(y - half, 0) : y + half, max(x - half, 0) : x + half] = -1
    return tuple(images)


# FaceBagNet


def modal_erasing(count, generator, probability=0.5, alone=0.5):
    kept = torch.tensor([7, 6, 5, 3, 1, 2, 4], device=generator.device)  # a bit for each modality
    chance = [1 - probability] + 3 * [probability * (1 - alone) / 3] + 3 * [probability * alone / 3]
    weights = torch.tensor(chance, dtype=torch.float64, device=generator.device)
    bits = kept[torch.multinomial(weights, count, replacement=True, generator=generator)]
    return torch.stack([bits % 2 == 1, bits // 2 % 2 == 1, bits // 4 == 1], dim=1)


def crop_grid(side, patch, places=9, short=False):
    steps = np.array([(0, 0), (-1, 0), (0, -1), (1, 0), (0, 1), (1, 1), (-1, -1), (-1, 1), (1, -1)])
    starts = np.clip((side - patch) // 2 + patch * steps, 0, side - patch - int(short))
    return list(map(tuple, starts.tolist()))[:places]


def grid_crops(x, patch, places=9, mirrors=4, short=False):
    tops, lefts = map(list, zip(*crop_grid(x.shape[3], patch, places, short), strict=True))
    squares = x.unfold(2, patch, 1).unfold(3, patch, 1)[:, :, tops, lefts]
    forth = torch.arange(patch, device=x.device)
    back = patch - 1 - forth
    turns = [(forth, forth), (forth, back), (back, forth), (back, back)][:mirrors]
    views = torch.stack([squares[..., down, :][..., across] for down, across in turns], dim=3)
    return views.permute(2, 3, 0, 1, 4, 5).flatten(0, 1)


# SSDG


def asymmetric_triplet_loss(features, bonafide, place, margin=0.1):
    number = torch.where(bonafide == 1, -1, place)
    total, count = features.sum() * 0, 0
    for anchor in range(len(features)):
        gaps = torch.linalg.vector_norm(features - features[anchor], dim=1)
        same = number == number[anchor]
        others = torch.arange(len(same), device=same.device) != anchor
        near, far = gaps[same & others], gaps[~same]
        over = (near.unsqueeze(1) - far + margin).flatten()
        over = over[over > 0]
        total, count = total + over.sum(), count + over.numel()
    return total / max(count, 1)


def one_sided_loss(logits, place, counted):
    costs = logits.logsumexp(dim=1) - logits.gather(1, place.unsqueeze(1)).squeeze(1)
    kept = costs[counted == 1]
    return kept.sum() / max(len(kept), 1)


def normalised_weight(weight, per="class"):
    squares = torch.einsum({"class": "cn,cn->c", "input": "cn,cn->n"}[per], weight, weight)
    lengths = squares.sqrt().clamp_min(1e-12)
    return torch.einsum({"class": "cn,c->cn", "input": "cn,n->cn"}[per], weight, 1 / lengths)


# SSAN


def live_assembly(x, scale, shift, first, second, biased=False):
    count = x[0, 0].numel()

    def styled(y):
        centred = y - y.sum((2, 3), keepdim=True) / count
        variance = torch.einsum("bchw,bchw->bc", centred, centred) / (count if biased else count - 1)
        return torch.einsum("bchw,bc->bchw", centred, scale * torch.rsqrt(variance + 1e-5)) + shift[:, :, None, None]

    def convolved(y, weight):
        columns = torch.nn.functional.unfold(y, 3, padding=1)
        return torch.einsum("ok,bkn->bon", weight.flatten(1), columns).unflatten(2, y.shape[2:])

    return styled(convolved(styled(convolved(x, first)).clamp_min(0), second)) + x


def dead_assembly(x, scale, shift, biased=False):
    count = x[0, 0].numel()
    grown = count / (count - 1) if biased else 1.0
    return adaptive_instance_norm(x, scale * grown**0.5, shift, grown * 1e-5) + x


def style_contrast(own, mixed, same):
    a, b = (y / y.pow(2).sum(1, keepdim=True).sqrt().clamp_min(1e-8) for y in (own.detach(), mixed))
    signs = 1 - 2 * same.to(b.dtype)
    return torch.einsum("b,bd,bd->", signs, a, b) / len(own)


def style_partners(count, generator, others=False):
    lots = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
    ring = lots.argsort()
    if not others:
        return ring
    place = ring.argsort()
    return ring[(place + 1) % count]


# SA-FAS


def random_boxes(count, side, least, most, generator):
    sides = torch.arange(1, side + 1, dtype=torch.float64, device=generator.device)
    edges = ((sides[:-1] + 0.5) / side) ** 2  # between a side and the next
    shares = torch.diff(edges.clamp(least, most), prepend=sides.new_tensor([least]), append=sides.new_tensor([most]))
    if most == least:
        shares[(edges < least).sum()] = 1
    chosen = 1 + torch.multinomial(shares, count, replacement=True, generator=generator)
    uniform = torch.rand(2, count, generator=generator, dtype=torch.float64, device=generator.device)
    top, left = torch.floor(uniform * (side - chosen + 1)).to(torch.int64)
    return torch.stack([top, left, chosen], dim=1)


def centred_boxes(count, side, area):
    inner = min((n for n in range(1, side + 1)), key=lambda n: abs(n - math.sqrt(area) * side))
    return torch.tensor(count * [[(side - inner) // 2, (side - inner) // 2, inner]])


def enlarged_boxes(x, boxes):
    size, out = x.shape[2:], []
    for image, (top, left, inner) in zip(x, boxes.tolist(), strict=True):
        square = image[None, :, top : top + inner, left : left + inner]
        out.append(torch.nn.functional.interpolate(square, size, mode="bilinear"))
    return torch.cat(out)


def turned_faces(x, degrees, by="nearest"):
    count, channels, side, _ = x.shape
    axis = torch.arange(side, dtype=x.dtype, device=x.device) - (side - 1) / 2
    plane = torch.complex(axis.expand(side, side), axis[:, None].expand(side, side))  # across + i down
    angle = degrees * (math.pi / 180)
    origin = plane * torch.polar(torch.ones_like(angle), angle)[:, None, None]
    across, down = (part + (side - 1) / 2 for part in (origin.real, origin.imag))
    framed = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0).flatten(2)
    if by == "nearest":
        corners = [(across.round(), down.round(), 1.0)]
    else:
        a, d = across.floor(), down.floor()
        p, q = across - a, down - d
        corners = [(a, d, (1 - p) * (1 - q)), (a + 1, d, p * (1 - q)), (a, d + 1, (1 - p) * q), (a + 1, d + 1, p * q)]
    out = 0
    for column, row, weight in corners:
        place = (row.clamp(-1, side) + 1) * (side + 2) + column.clamp(-1, side) + 1
        picked = framed.gather(2, place.long().reshape(count, 1, -1).expand(-1, channels, -1)).reshape(x.shape)
        out = out + (weight[:, None] if by == "bilinear" else weight) * (picked + 1)
    return out - 1


def mean_of_risks(logits, place, bonafide):
    total = 0 * logits.sum()
    for source in range(logits.shape[1]):
        here = place == source
        if here.any():
            signs = 1 - 2 * bonafide[here].to(logits.dtype)
            total = total + torch.nn.functional.softplus(signs * logits[here, source]).mean()
    return total / logits.shape[1]


def supervised_contrast(features, classes, temperature=0.1, base_temperature=0.07):
    directions = features / torch.linalg.vector_norm(features, dim=1, keepdim=True)
    costs, number = 0 * features.sum(), 0
    for i, anchor in enumerate(directions):
        others = torch.arange(len(features), device=features.device) != i
        alike = classes[others] == classes[i]
        if alike.any():
            logits = torch.mv(directions[others], anchor) / temperature
            costs = costs + torch.logsumexp(logits, dim=0) - logits[alike].mean()
            number += 1
    return costs / max(number, 1) * (temperature / base_temperature)


def aligned_heads(weights, alpha):
    lengths = weights.square().sum(dim=-1, keepdim=True).sqrt()
    gram = torch.einsum("e...d,f...d->ef...", weights, weights) / torch.einsum("e...d,f...d->ef...", lengths, lengths)
    gram = gram.reshape(len(weights), len(weights), -1).sum(2)
    out = []
    for e in range(len(weights)):
        others = [f for f in range(len(weights)) if f != e] or [e]
        f = others[int(torch.argmin(gram[e, others]))]
        between = alpha * weights[e] / lengths[e] + (1 - alpha) * weights[f] / lengths[f]
        out.append(between * (lengths[e] / between.square().sum(dim=-1, keepdim=True).sqrt()))
    return torch.stack(out)


def mean_probability(logits):
    odds = torch.exp(-logits.abs())
    of_head = torch.where(logits < 0, odds, 1.0) / (1 + odds)
    return torch.einsum("be->b", of_head) / logits.shape[1]


# IADG


def dynamic_kernels(x, weight, bias, scale, shift):
    means = torch.einsum("bchw->bc", x) / x[0, 0].numel()
    products = torch.einsum("bc,k->bck", means, scale * weight)
    return (products + (scale * bias + shift)).reshape(*means.shape, 3, 3)


def own_kernel_convolution(x, kernels):
    height, width = x.shape[2:]
    framed = torch.nn.functional.pad(x, (1, 1, 1, 1))
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 3, 3, H, W)
    return torch.einsum("bcijhw,bcij->bchw", windows, kernels)


def farthest_points(points, count, generator):
    number = len(points)
    uniform = torch.rand((), generator=generator, dtype=torch.float64, device=points.device)
    order = [int(float(uniform) * number)]
    apart = (points[:, None] - points[None]).pow(2).sum(2)
    while len(order) < min(count, number):
        rest = [i for i in range(number) if i not in order]
        nearest = apart[rest][:, order].min(1).values.tolist()
        order.append(rest[nearest.index(max(nearest))])
    return torch.tensor([order[i % number] for i in range(count)], device=points.device)


def dirichlet_weights(concentration, count, generator):
    seed = int(torch.randint(2**62, (), generator=generator, device=concentration.device))
    drawn = np.random.default_rng(seed).dirichlet(concentration.double().cpu().numpy(), size=count)
    return torch.from_numpy(drawn).to(concentration)


def assembled_styles(weights, label, bases):
    attack = label.reshape(-1, 1).to(bases)
    return torch.lerp(weights @ bases[0], weights @ bases[1], attack.expand(-1, bases.shape[2]))


def pair_covariances(x, centred=False):
    count, channels, height, width = x.shape
    out = x.new_zeros(count, channels, channels)
    one, other = torch.triu_indices(channels, channels, 1, device=x.device)
    products = (x[:, one] * x[:, other]).sum((2, 3))
    if centred:
        sums = x.sum((2, 3))
        products = products - sums[:, one] * sums[:, other] / (height * width)
    out[:, one, other] = products / (height * width - 1)
    return out


def sensitive_pairs(variance, share, of_pairs=False):
    channels = variance.shape[0]
    one, other = torch.triu_indices(channels, channels, 1, device=variance.device)
    values = variance[one, other]
    wanted = math.floor(share * (len(values) if of_pairs else channels * channels))
    best = values.argsort(descending=True)[: max(wanted, 1)]
    mask = torch.zeros(channels, channels, dtype=torch.bool, device=variance.device)
    mask[one[best], other[best]] = True
    return mask


def whitening_loss(covariances, label, masks):
    total = covariances.sum() * 0
    for number in (0, 1):
        samples = torch.nonzero(label.long() == number).flatten().tolist()
        one, other = torch.nonzero(masks[number], as_tuple=True)
        if samples and len(one):
            sizes = [covariances[i, one, other].abs().mean() for i in samples]
            total = total + sum(sizes) / (2 * len(sizes))
    return total


# FLIP


def ensemble_logits(image, spoof, real, scale, normalised=False):
    columns = []
    for captions in (real, spoof):
        weights = captions.pow(2).sum(1).rsqrt() if normalised else torch.ones_like(captions[:, 0])
        total = weights @ captions
        lengths = total.pow(2).sum().sqrt() * image.pow(2).sum(1).sqrt()
        columns.append(torch.einsum("bd,d->b", image, total) / lengths)
    return torch.stack(columns, dim=1) * scale


def simclr_loss(first, second, temperature=0.1):
    count = len(first)
    a, b = (view * view.square().sum(1, keepdim=True).rsqrt() for view in (first, second))
    across, apart = a @ b.mT / temperature, ~torch.eye(count, dtype=torch.bool, device=a.device)
    loss = 0
    for logits, view in ((across, a), (across.mT, b)):
        within = (view @ view.mT / temperature)[apart].reshape(count, count - 1)
        loss = loss + (torch.cat([logits, within], dim=1).logsumexp(1) - logits.diagonal()).sum()
    return loss / (2 * count)


def caption_halves(owner, classes, generator, replacement=False):
    first = torch.zeros(len(classes), len(owner), dtype=torch.int64, device=owner.device)
    second = first.clone()
    for sample, class_ in enumerate(classes.tolist()):
        own = torch.nonzero(owner == class_).flatten()
        size = len(own)
        if replacement:
            drawn = torch.randint(size, (size // 2,), generator=generator, device=owner.device)
        else:
            drawn = torch.randperm(size, generator=generator, device=owner.device)[: size // 2]
        first[sample] = torch.bincount(own[drawn], minlength=len(owner))
        second[sample, own] = 1
        second[sample, own[drawn]] = 0
    return first, second


def text_view_consistency(first, second, captions, first_half, second_half):
    cosines = []
    for view, half in ((first, first_half), (second, second_half)):
        sums = torch.einsum("bn,nd->bd", half.to(captions.dtype), captions)
        cosines.append((view * sums).sum(1) * (view.square().sum(1) * sums.square().sum(1)).rsqrt())
    return (cosines[0] - cosines[1]).square().sum() / len(first)


# ViT


def modality_tokens(patches, class_tokens, positions):
    modalities, length, width = positions.shape
    grouped = patches.reshape(modalities, -1, length - 1, width)
    out = positions[:, None].expand(modalities, grouped.shape[1], length, width).clone()
    out[:, :, 1:] += grouped
    out[:, :, 0] += class_tokens
    return out.reshape(-1, length, width)


def side_by_side(features, modalities=3):
    return torch.einsum("mbc->bmc", features.reshape(modalities, -1, features.shape[1])).flatten(1)


# MM-CDCN


def contrast_depth_loss(predicted, target):
    count, height, width = predicted.shape
    total = predicted.sum() * 0
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            contrasts = [torch.roll(x, (down, right), (1, 2)) - x for x in (predicted, target)]
            total = total + (contrasts[0] - contrasts[1])[:, 1:-1, 1:-1].pow(2).sum()
    return total / (8 * count * (height - 2) * (width - 2))


def face_mask(rgb, side):
    red, green, blue = (255 * (rgb + 1) / 2).unbind(1)
    grey = torch.floor(0.299 * red + 0.587 * green + 0.114 * blue + 0.5)
    size = grey.shape[-1]
    steps = torch.arange(side, dtype=torch.float64, device=rgb.device)
    positions = ((steps + 0.5) * size / side - 0.5).clamp(0, size - 1)
    pixels = torch.arange(size, device=rgb.device)
    weights = (1 - (positions[:, None] - pixels).abs()).clamp_min(0).to(grey)  # (side, S): a tent over each position
    return torch.floor(weights @ grey @ weights.T + 0.5).clamp_max(1).to(rgb)


def mask_target(mask, label):
    attack = (label > 0.5).reshape(-1, 1, 1)
    return torch.where(attack, torch.zeros_like(mask), mask)


def map_score(predicted, mask, kind="capped"):
    scores = []
    for own, cells in zip(predicted, mask, strict=True):
        if kind == "mean" or not cells.any():
            cells = torch.ones_like(cells)
        share = own.sum() / cells.sum()
        scores.append(torch.minimum(share, torch.ones_like(share)) if kind == "capped" else share)
    return torch.stack(scores)


def erasing_boxes(count, side, probability, generator):
    boxes = torch.zeros(count, 2, 4, dtype=torch.int64)
    uniform = torch.rand(count, 2, 5, generator=generator, dtype=torch.float64, device=generator.device).tolist()
    for sample, drawn in enumerate(uniform):
        lot = drawn[0][4]
        number = 0 if lot >= probability else 1 if lot >= probability / 2 else 2
        for place in range(number):
            share, shape, down, right, _ = drawn[place]
            area, ratio = side * side * (0.01 + 0.04 * share), 0.5 + 1.5 * shape
            height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            top, left = int(down * (side - height + 1)), int(right * (side - width + 1))
            boxes[sample, place] = torch.tensor([top, left, height, width])
    return boxes.to(generator.device)


def erased(image, boxes):
    out = image.clone()
    for sample, rectangles in enumerate(boxes.tolist()):
        for top, left, height, width in rectangles:
            out[sample, :, top : top + height, left : left + width] = -1
    return out


# CMFL


def cross_modal_weight(own, other, epsilon="none"):
    p, q = torch.exp(-own), torch.exp(-other)
    if epsilon == "none":
        return 2 * q.square() * torch.stack([-own, -other]).softmax(0)[0]
    extra = p * q if epsilon == "other" else q * q
    return (2 * p * q * q + 2e-9 * extra) / (p + q + 1e-9)


def cross_modal_focal_loss(branches, bonafide, alpha, gamma, epsilon="none", partner="attached", modulated="both"):
    batch, count = branches.shape
    live = bonafide.reshape(batch, 1, 1).to(branches.dtype)
    costs = torch.nn.functional.softplus(branches * (1 - 2 * live[:, :, 0]))
    rows, columns = costs.unsqueeze(2), (costs.detach() if partner == "detached" else costs).unsqueeze(1)
    if epsilon == "none":
        weights = cross_modal_weight(*torch.broadcast_tensors(rows, columns))
    else:
        weights = cross_modal_weight(rows, columns, "other")
    if epsilon == "asymmetric":
        weights = weights.triu() + cross_modal_weight(rows, columns, "own").tril(-1)
    if modulated == "attacks":
        weights = weights.masked_fill(live == 1, 0.0)
    apart = 1 - torch.eye(count, dtype=costs.dtype, device=costs.device)
    doubt = torch.relu(1 - weights).pow(gamma)
    return alpha * torch.einsum("bij,bi,ij->", doubt, costs, apart) / (batch * count * (count - 1))


def joint_objective(of_branches, joint, bonafide, balance):
    missed = torch.where(bonafide == 1, -joint, joint)
    of_joint = torch.logaddexp(missed, torch.zeros_like(missed)).mean()
    return {"loss": of_joint + balance * (of_branches - of_joint), "branches": of_branches, "joint": of_joint}


# AMA


def modality_gates(patches, weight):
    logits = torch.einsum("bnd,md->bm", patches, weight) / patches.shape[1]
    return 1 / (1 + torch.exp(-logits))


def gated_tokens(tokens, kernel, weight):
    (count, length, dim), modalities = tokens.shape, weight.shape[0]
    side = math.isqrt((length - 1) // modalities)
    of_modality = kernel.reshape(dim, modalities, dim, 3, 3)
    maps = tokens[:, 1:].reshape(count, modalities, side, side, dim)
    framed = torch.nn.functional.pad(maps, (0, 0, 1, 1, 1, 1))
    windows = framed.unfold(2, side, 1).unfold(3, side, 1)  # (B, M, 3, 3, D, side, side)
    shared = torch.einsum("bmijcyx,dmcij->byxd", windows, of_modality)
    gates = modality_gates(maps.movedim(1, 3).reshape(count, side * side, -1), weight)
    patches = torch.einsum("bm,byxd->bmyxd", gates, shared).reshape(count, -1, dim)
    of_class = torch.einsum("bc,dmc->bd", tokens[:, 0], of_modality[:, :, :, 1, 1])
    return torch.cat([of_class[:, None], patches], dim=1)


def oriented_gradients(grey):
    drawings = [  # pixels of the line of each bin, row and column
        "14 24 34 43 53 63",
        "15 24 34 43 53 62",
        "26 35 34 43 42 51",
        "26 35 34 43 42 51",
        "41 42 43 44 45 46 47",
        "21 32 33 44 45 56",
        "21 32 33 44 45 56",
        "12 23 33 44 54 65",
        "13 23 33 44 54 64",
    ]
    count, (rows, columns) = len(grey), (side // 8 for side in grey.shape[1:])
    out = torch.zeros_like(grey)
    field = torch.zeros(*grey.shape, 2, dtype=grey.dtype, device=grey.device)  # right, down
    field[:, :, 1:-1, 0] = grey[:, :, 2:] - grey[:, :, :-2]
    field[:, 1:-1, :, 1] = grey[:, 2:] - grey[:, :-2]
    angles = math.pi * torch.arange(1, 9, dtype=grey.dtype, device=grey.device) / 9
    right, down = field.unbind(-1)
    turned = (down < 0) | ((down == 0) & (right < 0))
    upper = torch.where(turned[..., None], -field, field)
    beyond = upper[..., 1:] * torch.cos(angles) - upper[..., :1] * torch.sin(angles) >= 0  # past the start of each bin
    bins = beyond.sum(-1) * field.any(-1)
    lengths = field.square().sum(-1).sqrt()
    for n, drawing in enumerate(drawings):
        chosen = torch.where(bins == n, lengths, 0)[:, : 8 * rows, : 8 * columns]
        heights = chosen.reshape(count, rows, 8, columns, 8).sum((2, 4)) / 64
        for place in drawing.split():
            out[:, int(place[0]) : 8 * rows : 8, int(place[1]) : 8 * columns : 8] += heights
    return out.clamp(max=255)


def gravitational_force(grey):
    masses = grey.clamp(min=2)
    reach = [-2, -1, 0, 1, 2]
    places = torch.tensor([[complex(x, y) for x in reach] for y in reach], device=grey.device)
    places = places.to(torch.complex128 if grey.dtype == torch.float64 else torch.complex64)
    sizes = places.abs()
    weights = torch.where(sizes > 0, places / sizes**3, 0)
    windows = torch.nn.functional.pad(masses, (2, 2, 2, 2)).unfold(1, 5, 1).unfold(2, 5, 1)  # (B, H, W, 5, 5)
    pull = torch.einsum("bhwij,ij->bhw", windows.to(weights.dtype), weights).abs()
    force = torch.atan2(pull, masses + 0.0001)
    low, high = (getattr(force.flatten(1), end)(1)[:, None, None] for end in ("amin", "amax"))
    return 1 + 254 * torch.where(high > low, (force - low) / (high - low), 0)


def infrared_stack(ir):
    grey = (ir[:, 0] + 1) * 127.5
    channels = grey, oriented_gradients(grey), gravitational_force(grey)
    return torch.stack([channel / 127.5 - 1 for channel in channels], dim=1)


# VP-FAS


def token_context(tokens, modalities=3, shared=True):
    grouped = tokens.reshape(modalities, -1, *tokens.shape[1:])  # (M, B, 1 + N, C)
    out = (grouped.sum(2) - grouped[:, :, 0]) / (tokens.shape[1] - 1)
    if shared:
        out = torch.einsum("mbc->bc", out).expand_as(out) / modalities
    return out.flatten(0, 1)


def contextual_prompts(vanilla, residual):
    modalities, length, width = vanilla.shape
    moved = vanilla.reshape(modalities, 1, length, width) + residual.reshape(modalities, -1, 1, width)
    return moved.reshape(-1, length, width)


def missing_modality_loss(complete, dropped, missing, cosine=False, attached=False):
    chosen = torch.nonzero(missing).flatten().tolist()
    loss = dropped.sum() * 0
    for place in chosen:
        a, b = complete[place], dropped[place]
        if not attached:
            a = a.detach()
        if not cosine:
            cost = (a - b).pow(2).sum() / len(a)
        else:
            cost = 1 - torch.dot(a, b) / (torch.dot(a, a) * torch.dot(b, b)).sqrt()
        loss = loss + cost / len(chosen)
    return loss


# ViTAF


def adapter_outputs(x, down, down_bias, up, up_bias):
    outputs = []
    for k in range(len(down)):
        hidden = torch.einsum("bnc,hc->bnh", x, down[k]) + down_bias[k]
        hidden = 0.5 * hidden * torch.erfc(-hidden / math.sqrt(2))
        outputs.append(x + torch.einsum("bnh,ch->bnc", hidden, up[k]) + up_bias[k])
    return torch.stack(outputs)


def pair_cosine_loss(first, second):
    dots = torch.einsum("bnc,bnc->bn", first, second)
    lengths = [torch.linalg.vector_norm(x, dim=2).clamp_min(1e-8) for x in (first, second)]
    cosines = dots / lengths[0] / lengths[1]
    return torch.einsum("bn,bn->", cosines, cosines) / cosines.numel()


def feature_wise_transformation(x, gamma, beta, gamma_lots, beta_lots):
    spreads = torch.logaddexp(torch.stack([gamma, beta]) * 100, x.new_zeros(())) / 100
    return x + torch.einsum("bnc,c->bnc", x, gamma_lots * spreads[0]) + beta_lots * spreads[1]


# MMDG


def kept_draws(x, count, drop, generator):
    kept = torch.zeros_like(x)
    for _ in range(count):
        kept += torch.rand(x.shape, generator=generator, dtype=torch.float64, device=x.device) >= drop
    return kept


def drawn_deviation(x, kept, count, drop):
    survivor = x / (1 - drop)
    mean = survivor * kept / count
    squares = kept * (survivor - mean).square() + (count - kept) * mean.square()
    return torch.sqrt(squares / (count - 1) + 1e-40)


def expected_deviation(x, drop):
    second_moment = x.square() / (1 - drop)
    return torch.sqrt(second_moment - x.square() + 1e-40)


def certainty(deviation, steepness, squared=False):
    exponent = deviation * deviation if squared else deviation
    return (exponent * steepness).exp().reciprocal()


def tempered_attention(q, k, v, certain, after=False):
    logits = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5
    if not after:
        logits = torch.einsum("bhij,bi->bhij", logits, certain)
    weights = torch.exp(logits - logits.logsumexp(-1, keepdim=True))
    out = torch.einsum("bhij,bhjd->bhid", weights, v)
    return torch.einsum("bhid,bi->bhid", out, certain) if after else out


# DADM


def masked_tokens(tokens, mask):
    out = tokens.clone()
    out[:, 1:] = torch.einsum("bnc,bcn->bnc", tokens[:, 1:], mask.reshape(*mask.shape[:2], -1))
    return out


def information_bound(a, b, order_a, order_b):
    joint = 0.5 * (a.mean() + b.mean())
    apart = 0.5 * a.index_select(0, order_a) + 0.5 * b.index_select(0, order_b)
    top = apart.detach().max()
    return torch.log(torch.exp(apart - top).mean()) + top - joint


def modality_information(tokens):
    rd, ri, di = tokens.unbind(1)  # (L, B, 2, C) each
    places = [(rd[:, :, 0], ri[:, :, 0]), (rd[:, :, 1], di[:, :, 0]), (ri[:, :, 1], di[:, :, 1])]
    return torch.stack([(a + b).mean() / 2 for a, b in places])


def angle_loss(features, bonafide, place, bonafide_cosine=1.0, attack_cosine=0.85):
    unit = features / features.pow(2).sum(2, keepdim=True).sqrt()
    cosines = torch.einsum("mid,njd->mnij", unit, unit)
    sources = sorted(set(place.tolist()))
    pairs = [(e, f) for e in sources for f in sources if e < f]
    total = (features * 0).sum()
    for live, target in ((True, bonafide_cosine), (False, attack_cosine)):
        members = {e: ((place == e) & (bonafide == live)).nonzero().flatten() for e in sources}
        if min(len(rows) for rows in members.values()) == 0:
            continue
        for e, f in pairs:
            for m in range(len(features)):
                total = total + (cosines[m, m][members[e]][:, members[f]] - target).pow(2).sum()
                for n in range(m):
                    x = cosines[n, m][members[e]][:, members[e]].reshape(-1, 1)
                    y = cosines[n, m][members[f]][:, members[f]].reshape(1, -1)
                    total = total + (x - y).pow(2).sum()
    return total / max(len(pairs), 1)


def giving_way(information):
    best = max(range(len(information)), key=lambda m: float(information[m]))
    return torch.nonzero(information != information[best]).flatten().tolist()


# blocks of several rows


def squeeze_excitation(x, w1, b1, w2, b2):
    hidden = (torch.einsum("bchw,kc->bk", x, w1) / (x.shape[2] * x.shape[3]) + b1).clamp_min(0)
    weights = 1 / (1 + torch.exp(-(hidden @ w2.T + b2)))
    return torch.einsum("bchw,bc->bchw", x, weights)


def restarted_rate(progress, cycles, highest, lowest):
    phase = math.pi * math.fmod(progress * cycles, 1.0)
    return lowest + (highest - lowest) * math.cos(phase / 2) ** 2


def reversal_coefficient(progress):
    return math.tanh(5 * progress)


def reverse_gradient(x, coefficient):
    turned = x * -coefficient
    return x.detach() + (turned - turned.detach())


def root_normalised(x):
    lengths = torch.linalg.vector_norm(x, dim=1).clamp_min(1e-12)
    return torch.einsum("bc,b->bc", x, torch.rsqrt(lengths + lengths))


def stepped_rate(done, highest, every, factor):
    rate = highest
    for _ in range(every, done + 1, every):
        rate *= factor
    return rate


def instance_statistics(x, epsilon=1e-05):
    flat = x.flatten(2)
    count = flat.shape[2]
    mean = flat.sum(2) / count
    centred = flat - mean.unsqueeze(2)
    return mean, torch.sqrt(torch.einsum("bcn,bcn->bc", centred, centred) / (count - 1) + epsilon)


def adaptive_instance_norm(x, scale, shift, epsilon=1e-05, detached=False):
    mean, deviation = instance_statistics(x.detach() if detached else x, epsilon)
    slope = scale / deviation
    return torch.einsum("bchw,bc->bchw", x - mean[:, :, None, None], slope) + shift[:, :, None, None]


def central_difference(x, weight, theta):
    height, width = x.shape[2:]
    windows = torch.nn.functional.pad(x, (1, 1, 1, 1)).unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 3, 3, H, W)
    return torch.einsum("bcijhw,ocij->bohw", windows - theta * x[:, :, None, None], weight)


def quick_gelu(x):
    return x * (1 + torch.tanh(0.851 * x)) / 2


def convolved_tokens(tokens, convolution):
    count = tokens.shape[1] - 1
    side = math.isqrt(count)
    grid = torch.einsum("bnc->bcn", tokens)
    patches = convolution(grid[:, :, 1:].reshape(len(tokens), -1, side, side))
    cell = convolution(grid[:, :, :1].unsqueeze(3))
    return torch.einsum("bcn->bnc", torch.cat([cell.flatten(2), patches.flatten(2)], dim=2))


def prototype_classes(bonafide, place):
    return (place + 1) * torch.logical_not(bonafide)


def class_means(features, classes, count):
    rows = []
    for number in range(count):
        own = features[classes == number]
        rows.append(own.sum(0) / max(len(own), 1))
    return torch.stack(rows)


def moved_prototypes(old, new, kept):
    return new + kept * (old - new)


def prototype_loss(features, prototypes, classes):
    distances = torch.stack([torch.linalg.vector_norm(features - prototype, dim=1) for prototype in prototypes])
    own = distances[classes, torch.arange(len(classes), device=classes.device)]
    return (own + torch.logsumexp(-distances, dim=0)).sum() / len(classes)


def projected_gradient(gradient, base, epsilon=0.0):
    a, b = gradient.flatten(), base.flatten()
    if not b.any():
        return gradient + 0 * base
    unit = 1.0 if epsilon else b.detach().abs().amax()
    b = b / unit
    share = torch.einsum("n,n->", a, b) / (torch.einsum("n,n->", b, b) + epsilon)
    agreeing = b * share.clamp_min(0)
    aside = a - b * share
    return torch.where(share > 0, agreeing, aside).reshape(gradient.shape)


def merged_gradient(gradients, own, fastest, weights, epsilon=0.0):
    if own == fastest:
        rest = torch.stack(list(gradients)).sum(0) - gradients[own]
        return rest + weights[own] * projected_gradient(gradients[own], rest, epsilon)
    total = gradients[own].clone()
    for other, gradient in enumerate(gradients):
        if other != own:
            total = total + weights[other] * projected_gradient(gradient, gradients[own], epsilon)
    return total


def add_merged_gradients(losses, owned, fast, weights, epsilon=0.0):
    for parameter, own in owned:
        of_each = []
        for loss in losses:
            (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True, allow_unused=True)
            of_each.append(torch.zeros_like(parameter) if gradient is None else gradient)
        if own is None:
            added = sum(of_each)
        else:
            added = merged_gradient(of_each, own, own if own in fast else None, weights, epsilon)
        before = torch.zeros_like(added) if parameter.grad is None else parameter.grad
        parameter.grad = before + added
