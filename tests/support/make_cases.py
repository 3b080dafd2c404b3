#!/usr/bin/env python3
"""Writes cases of the form of tests/data/golden for another seed: other sizes, ranks and row counts.

Usage: make_cases.py SEED FOLDER

The formulas are written down here once more, in float64 and without the engine's own algebra, from
exactly the values stored. Needs numpy; exit status 77 without it."""
import json
import os
import struct
import sys

try:
    import numpy as np
except ImportError:
    print("numpy is not installed (tools/setup python brings it)")
    sys.exit(77)

Q, DOWN, Q1 = "model.layers.0.self_attn.q_proj", "model.layers.3.mlp.down_proj", "model.layers.1.self_attn.q_proj"
# q_proj (in, out), down_proj (in, out), rows, blocks of MELoRA, group of QA-LoRA (0: does not divide)
SIZES = {2: ((99, 81), (165, 93), 5, 3, 11), 3: ((35, 49), (77, 63), 11, 7, 7), 4: ((97, 83), (161, 95), 13, 0, 0)}
NO_BIAS = DOWN
DTYPES = {"f32": ("F32", "<f4"), "f16": ("F16", "<f2"), "u8": ("U8", "u1"), "i32": ("I32", "<i4")}


def save(path, tensors):
    """tensors: name -> (dtype, array); bf16 arrays are f32 whose low halves are zero."""
    head, body, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        kind, array = tensors[name]
        array = np.asarray(array)
        if kind == "bf16":
            label, data = "BF16", (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        else:
            label, data = DTYPES[kind][0], np.ascontiguousarray(array.astype(DTYPES[kind][1])).tobytes()
        head[name] = {"dtype": label, "shape": list(array.shape), "data_offsets": [at, at + len(data)]}
        body.append(data)
        at += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(body))


def softmax(v):
    e = np.exp(v - v.max())
    return e / e.sum()


class Maker:
    def __init__(self, seed, root):
        self.root, self.seed, self.cases = root, seed, []
        self.q, self.down, self.n_rows, self.blocks, self.group = SIZES[2 + seed % 3 if seed not in SIZES else seed]
        self.rng = np.random.default_rng(seed)
        self.modules = {Q: self.q, DOWN: self.down}
        self.base = {m: self.layer(*size, m != NO_BIAS) for m, size in {**self.modules, Q1: self.q}.items()}

    def rand(self, *shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32).astype(np.float64)

    def layer(self, d_in, d_out, bias):
        return {"W": self.rand(d_out, d_in, scale=d_in**-0.5), "b": self.rand(d_out, scale=0.3) if bias else np.zeros(d_out)}

    def pair(self, size, r):
        return self.rand(r, size[0], scale=size[0] ** -0.5), self.rand(size[1], r, scale=r**-0.5)

    def x(self, size):
        return self.rand(self.n_rows, size[0])

    # --- writing ---
    def adapter(self, kind, folder, config, tensors, dtype="f32"):
        path = os.path.join(self.root, kind, folder)
        os.makedirs(path, exist_ok=True)
        config = {"target_modules": ["down_proj", "q_proj"], "base_model_name_or_path": "toy", **config}
        json.dump(config, open(os.path.join(path, "adapter_config.json"), "w"))
        if tensors is not None:
            full = {"base_model." + (n if n.startswith("vera_") else "model." + n): (dtype, t) for n, t in tensors.items()}
            save(os.path.join(path, "adapter_model.safetensors"), full)

    def case(self, kind, layers, xs, fields, tolerance=5e-6, raw=None, meta=None):
        """layers: module -> {"W", "b"}; xs: module -> X; fields: (module, field) -> f64 array."""
        tensors, listed = dict(raw or {}), []
        for m, layer in layers.items():
            tensors[m + ".W"] = ("f32", layer["W"])
            if layer["b"].any():
                tensors[m + ".bias"] = ("f32", layer["b"])
            if m in xs:
                tensors[m + ".X"] = ("f32", xs[m])
            listed.append({"name": m, "bias": bool(layer["b"].any()), "din": layer["W"].shape[1], "dout": layer["W"].shape[0]})
        for (m, field), value in fields.items():
            tensors[(m + "." if m else "") + field] = ("f32", value)
        path = os.path.join(self.root, kind)
        os.makedirs(path, exist_ok=True)
        save(os.path.join(path, "case.safetensors"), tensors)
        json.dump({"kind": kind, "seed": self.seed, "rows": self.n_rows, "modules": listed,
                   "tolerance_fp32": tolerance, **(meta or {})}, open(os.path.join(path, "case.json"), "w"), indent=1)
        self.cases.append(kind)

    def simple(self, kind, config, make, modules=None, dtype="f32", tolerance=5e-6, base=None):
        """make(module, size, layer) -> (tensors of the module, function of one row)."""
        base, tensors, xs, fields = base or self.base, {}, {}, {}
        for m, size in (modules or self.modules).items():
            own, row = make(m, size, base[m])
            tensors.update({n if n.startswith("vera_") else m + "." + n: t for n, t in own.items()})
            xs[m] = self.x(size)
            fields[m, "Y"] = np.stack([row(x) for x in xs[m]])
        self.adapter(kind, "", config, tensors, dtype)
        self.case(kind, {m: base[m] for m in xs}, xs, fields, tolerance)


def lora_like(mk):
    def lora(r_of, s_of, bias=False, cast=lambda t: t):
        def make(m, size, layer):
            A, B = (cast(t) for t in mk.pair(size, r_of(m)))
            c = mk.rand(size[1], scale=0.2) if bias else np.zeros(size[1])
            tensors = {"lora_A.weight": A, "lora_B.weight": B, **({"lora_B.bias": c} if bias else {})}
            return tensors, lambda x: layer["W"] @ x + layer["b"] + s_of(m) * (B @ (A @ x) + c)
        return make

    def plain(kind, r, alpha, **more):
        mk.simple(kind, {"peft_type": "LORA", "r": r, "lora_alpha": alpha}, lora(lambda m: r, lambda m: alpha / r, **more),
                  dtype={"lora_f16": "f16", "lora_bf16": "bf16"}.get(kind, "f32"))

    half = lambda t: t.astype(np.float16).astype(np.float64)
    brain = lambda t: (t.astype("<f4").view("<u4") & 0xFFFF0000).astype("<u4").view("<f4").astype(np.float64)
    plain("lora", 5, 7)
    plain("lora_f16", 9, 4, cast=half)
    plain("lora_bf16", 3, 8, cast=brain)
    for kind, r in (("loraplus", 6), ("lora_pro", 11), ("riemannian", 1)):
        plain(kind, r, 2 * r + 1)
    mk.simple("lora_bias", {"peft_type": "LORA", "r": 7, "lora_alpha": 9, "lora_bias": True}, lora(lambda m: 7, lambda m: 9 / 7, bias=True))
    mk.simple("rslora", {"peft_type": "LORA", "r": 10, "lora_alpha": 5, "use_rslora": True}, lora(lambda m: 10, lambda m: 5 / 10**0.5))
    r_of = lambda m: 13 if m == DOWN else 4
    mk.simple("lora_rank_pattern", {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "rank_pattern": {"down_proj": 13}, "alpha_pattern": {Q: 17}},
              lora(r_of, lambda m: (17 if m == Q else 6) / r_of(m)))
    mk.simple("lora_rank_pattern_regex", {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "target_modules": r".*\.(q_proj|down_proj)",
                                          "rank_pattern": {r"^model\.layers\.[1-9]\..*": 13, "proj": 77}, "alpha_pattern": {r"layers\.0\..*_proj": 17}},
              lora(r_of, lambda m: (17 if m == Q else 6) / r_of(m)))

    def pruned(m, size, layer):
        A, B = mk.pair(size, 2 if m == Q else 11)
        A[mk.rng.random(A.shape) < 0.4] = 0
        return {"lora_A.weight": A, "lora_B.weight": B}, lambda x: layer["W"] @ x + layer["b"] + 4 / A.shape[0] * (B @ (A @ x))
    mk.simple("prilora", {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "rank_pattern": {r"layers\.0\..*": 2, r"layers\.3\..*": 11}}, pruned)

    shared = {}
    def share(m, size, layer):
        A = shared.setdefault(size, mk.pair(size, 6)[0])
        B = mk.pair(size, 6)[1]
        return {"lora_A.weight": A, "lora_B.weight": B}, lambda x: layer["W"] @ x + layer["b"] + 2 * (B @ (A @ x))
    mk.simple("sharelora", {"peft_type": "LORA", "r": 6, "lora_alpha": 12}, share, {**mk.modules, Q1: mk.q})


def dora_pair(mk, r, s):
    def make(m, size, layer):
        A, B = mk.pair(size, r)
        mag = np.abs(mk.rand(size[1])) + 0.5
        V = layer["W"] + s * (B @ A)
        u = mag / np.sqrt((V * V).sum(axis=1))
        return ({"lora_A.weight": A, "lora_B.weight": B, "lora_magnitude_vector": mag}, lambda x: u * (V @ x) + layer["b"])
    return make


def quantise(W):
    """Q4_0: (dequantised, bytes)."""
    blocks = W.astype(np.float32).reshape(W.shape[0], -1, 32)
    most = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], 2)
    d = (most / np.float32(-8)).astype(np.float32)
    inverse = np.where(d != 0, np.float32(1) / np.where(d != 0, d, 1), 0).astype(np.float32)
    q = np.minimum(15, np.trunc(blocks * inverse + np.float32(8.5))).astype(np.uint8)
    d16 = d.astype("<f2")
    packed = np.concatenate([d16.view(np.uint8), q[..., :16] | q[..., 16:] << 4], axis=2)
    return ((q.astype(np.float64) - 8) * d16.astype(np.float64)).reshape(W.shape), packed.reshape(W.shape[0], -1)


def quantised_dora(mk):
    sizes, layers, raw, xs, fields, tensors = {Q: (64, 45), DOWN: (160, 51)}, {}, {}, {}, {}, {}
    for m, size in sizes.items():
        layer = mk.layer(*size, m == Q)
        layer["W"], raw_bytes = quantise(layer["W"])
        raw[m + ".W_q4_0"] = ("u8", raw_bytes)
        own, row = dora_pair(mk, 5, 3.0)(m, size, layer)
        tensors.update({m + "." + n: t for n, t in own.items()})
        layers[m], xs[m] = layer, mk.x(size)
        fields[m, "Y"] = np.stack([row(x) for x in xs[m]])
    mk.adapter("dora_quantised_base", "", {"peft_type": "LORA", "r": 5, "lora_alpha": 15, "use_dora": True}, tensors)
    mk.case("dora_quantised_base", layers, xs, fields, 1e-5, raw)


def chains(mk):
    def staged(ranks, scale_of, stages_of=lambda m: None):
        def make(m, size, layer):
            tensors, delta = {}, np.zeros_like(layer["W"])
            for i, r in enumerate(ranks):
                if stages_of(m) is not None and i not in stages_of(m):
                    continue
                A, B = mk.pair(size, r)
                tensors[f"lora_A.{i}.weight"], tensors[f"lora_B.{i}.weight"] = A, B
                delta = delta + scale_of(i) * (B @ A)
            return tensors, lambda x: (layer["W"] + delta) @ x + layer["b"]
        return make
    r, a = [3, 1, 5, 2], [6, 5, 4, 3]
    mk.simple("cola", {"peft_type": "COLA", "r": r, "lora_alpha": a, "num_stages": 4, "scaling": "alpha_over_r"}, staged(r, lambda i: a[i] / r[i]))
    mk.simple("rac_lora", {"peft_type": "RAC_LORA", "r": 3, "lora_alpha": 0.75, "num_stages": 3, "frozen_factor": "A", "scaling": "alpha"},
              staged([3] * 3, lambda i: 0.75))
    mk.simple("xgblora", {"peft_type": "XGBLORA", "r": 1, "lora_alpha": 0.5, "num_stages": 12, "scaling": "alpha_over_r"},
              staged([1] * 12, lambda i: 0.5, lambda m: {0, 2, 7, 10, 11} if m == Q else {1, 2, 3, 10}))

    def delta_lora(m, size, layer):
        (A, B), (A0, B0) = mk.pair(size, 5), mk.pair(size, 5)
        V = layer["W"] + 0.75 * (B @ A - B0 @ A0) + 7 / 5 * (B @ A)
        return ({"lora_A.weight": A, "lora_B.weight": B, "lora_A_start.weight": A0, "lora_B_start.weight": B0}, lambda x: V @ x + layer["b"])
    mk.simple("delta_lora", {"peft_type": "DELTA_LORA", "r": 5, "lora_alpha": 7.0, "delta_lambda": 0.75, "start_step": 9}, delta_lora)

    def blocks(m, size, layer):
        n, tensors, V = mk.blocks, {}, layer["W"].copy()
        i_, o_ = size[0] // n, size[1] // n
        for i in range(n):
            A, B = mk.pair((i_, o_), 1 + i % 3)
            tensors[f"lora_A.{i}.weight"], tensors[f"lora_B.{i}.weight"] = A, B
            V[i * o_:(i + 1) * o_, i * i_:(i + 1) * i_] += (3 + i) / (1 + i % 3) * (B @ A)
        return tensors, lambda x: V @ x + layer["b"]
    if mk.blocks:
        n = range(mk.blocks)
        mk.simple("melora", {"peft_type": "MELORA", "r": [1 + i % 3 for i in n], "lora_alpha": [3 + i for i in n]}, blocks)


def shared_factors(mk):
    groups = {}
    def lotr(m, size, layer):
        rhs, lhs = groups.setdefault(size, (mk.rand(size[0], 5, scale=size[0] ** -0.5), mk.rand(5, size[1], scale=0.5)))
        mid = mk.rand(5, 5)
        return ({"lotr.rhs": rhs, "lotr.mid": mid, "lotr.lhs": lhs}, lambda x: layer["W"] @ x + layer["b"] + 2.5 / 5 * (lhs.T @ (mid.T @ (rhs.T @ x))))
    mk.simple("lotr", {"peft_type": "LOTR", "rank": 5, "scale": 2.5, "groups": [[Q, Q1], [DOWN]]}, lotr, {**mk.modules, Q1: mk.q})

    for kind, adapted in (("vera", [DOWN]), ("vera_two_modules_shared", [Q, DOWN])):
        A = mk.rand(19, max(mk.modules[m][0] for m in adapted), scale=0.1)
        B = mk.rand(max(mk.modules[m][1] for m in adapted), 19, scale=0.2)
        def vera(m, size, layer):
            if m not in adapted:
                return {}, lambda x: layer["W"] @ x + layer["b"]
            d, b = mk.rand(19), mk.rand(size[1])
            own = {"vera_lambda_d": d, "vera_lambda_b": b}
            return own, lambda x: layer["W"] @ x + layer["b"] + b * (B[:size[1]] @ (d * (A[:, :size[0]] @ x)))
        vera_case(mk, kind, {"peft_type": "VERA", "r": 19, "save_projection": True, "projection_prng_key": 3, "d_initial": 0.1,
                             "target_modules": [m.split(".")[-1] for m in adapted]}, vera, A, B)


def vera_case(mk, kind, config, make, A, B):
    tensors, xs, fields = {"vera_A": A, "vera_B": B}, {}, {}
    for m, size in mk.modules.items():
        own, row = make(m, size, mk.base[m])
        tensors.update({m + "." + n: t for n, t in own.items()})
        xs[m] = mk.x(size)
        fields[m, "Y"] = np.stack([row(x) for x in xs[m]])
    mk.adapter(kind, "", config, tensors)
    mk.case(kind, {m: mk.base[m] for m in xs}, xs, fields)


def pooled(mk):
    for kind, factor in (("qalora_avg", lambda d, g: 1 / g), ("qalora_sum", lambda d, g: 1.0), ("qalora_peft", lambda d, g: d / g / g)):
        def make(m, size, layer):
            g = mk.group
            A, B = mk.pair((size[0] // g, size[1]), 5)
            k = 9 / 5 * factor(size[0], g)
            return ({"lora_A.weight": A, "lora_B.weight": B},
                    lambda x: layer["W"] @ x + layer["b"] + k * (B @ (A @ x.reshape(-1, g).sum(axis=1))))
        config = {"r": 5, "lora_alpha": 9.0, "qalora_group_size": mk.group}
        if kind == "qalora_peft":
            config.update(peft_type="LORA", use_qalora=True)
        else:
            config.update(peft_type="QALORA", qalora_pool=kind[7:])
        mk.simple(kind, config, make)


def multiplied(mk):
    for kind, r, how in (("flora_r1", 1, "mean"), ("flora_r4", 3, "mean"), ("flora_sum", 5, "sum")):
        def make(m, size, layer):
            A, B = 1 + mk.rand(r, size[1], scale=0.3), 1 + mk.rand(size[0], r, scale=0.3)
            A, B = (t.astype(np.float32).astype(np.float64) for t in (A, B))
            k = 1 / r if how == "mean" else 1.0
            return {"flora_A": A, "flora_B": B}, lambda x: k * sum(A[j] * (layer["W"] @ (B[:, j] * x)) for j in range(r)) + layer["b"]
        mk.simple(kind, {"peft_type": "FLORA", "r": r, "flora_reduction": how}, make)

    def hira(m, size, layer):
        A, B = mk.rand(4, size[0]), mk.rand(size[1], 4, scale=0.5)
        return {"hira_A": A, "hira_B": B}, lambda x: (layer["W"] + layer["W"] * (B @ A)) @ x + layer["b"]
    mk.simple("hira", {"peft_type": "HIRA", "r": 4}, hira)

    def ia3(m, size, layer):
        if m == DOWN:
            l = mk.rand(1, size[0])
            return {"ia3_l": l}, lambda x: layer["W"] @ (l[0] * x) + layer["b"]
        l = mk.rand(size[1], 1)
        return {"ia3_l": l}, lambda x: l[:, 0] * (layer["W"] @ x + layer["b"])
    mk.simple("ia3", {"peft_type": "IA3", "feedforward_modules": ["down_proj"]}, ia3)
    mk.simple("dora", {"peft_type": "LORA", "r": 7, "lora_alpha": 10, "use_dora": True}, dora_pair(mk, 7, 10 / 7))


def apart(scores, k, gap):
    s = np.sort(scores)[::-1]
    return np.all(s[:k] - s[1:k + 1] > gap)


def meteora(mk):
    n, r, k, T = 7, 3, 3, 0.7
    alphas = [2.0 + i for i in range(n)]
    tensors, xs, fields = {}, {}, {}
    for m, size in mk.modules.items():
        A, B = mk.rand(n * r, size[0], scale=size[0] ** -0.5), mk.rand(size[1], n * r, scale=0.5)
        while True:
            G, X = mk.rand(n, size[0], scale=4 * size[0] ** -0.5), mk.x(size)
            if all(apart(G @ x, k, 0.03) for x in X):
                break
        Y = []
        for x in X:
            kept = np.argsort(-(G @ x))[:k]
            w = softmax((G @ x)[kept] / T)
            Y.append(mk.base[m]["W"] @ x + mk.base[m]["b"] + sum(
                w[j] * alphas[i] / r * (B[:, i * r:(i + 1) * r] @ (A[i * r:(i + 1) * r] @ x)) for j, i in enumerate(kept)))
        tensors.update({m + ".lora_A.weight": A, m + ".lora_B.weight": B, m + ".moe_gate.weight": G})
        xs[m], fields[m, "Y"] = X, np.stack(Y)
    names = [f"task{i}" for i in range(n)]
    mk.adapter("meteora", "", {"peft_type": "METEORA", "adapters": names, "r": {t: r for t in names}, "top_k": k, "router_temperature": T,
                               "lora_alpha": dict(zip(names, alphas))}, tensors)
    mk.case("meteora", {m: mk.base[m] for m in xs}, xs, fields)


def mixlora(mk, paired):
    n, r, alpha, weight = 11, 3, 22, 0.75
    kind = "mixlora_conditional_" + ("cfs" if paired else "ifs")
    cut = [0, 1, mk.n_rows // 2 + 1, mk.n_rows]
    tensors, xs, fields = {}, {}, {}
    for m, size in mk.modules.items():
        A, B = mk.rand(n, size[0], scale=size[0] ** -0.5), mk.rand(n, size[1], scale=0.7)
        while True:
            Wa, Wb = mk.rand(n, size[0], scale=8 * size[0] ** -0.5), mk.rand(n, size[0], scale=8 * size[0] ** -0.5)
            Wc = mk.rand(n, r * size[0], scale=2 * size[0] ** -0.5)
            X, Y, good = mk.x(size), [], True
            for lo, hi in zip(cut, cut[1:]):
                xm = X[lo:hi].mean(axis=0)
                a, b = Wa @ xm, Wb @ xm
                ia = np.argsort(-a)[:r]
                if paired:
                    parts = Wc.reshape(n, r, size[0]).sum(axis=2)
                    b = softmax(b) + weight * softmax(sum(softmax(A[ia[j]].sum() * parts[:, j]) for j in range(r)))
                ib = np.argsort(-b)[:r]
                good = good and apart(a, r, 0.02) and apart(b, r, 5e-4 if paired else 0.02)
                for x in X[lo:hi]:
                    Y.append(mk.base[m]["W"] @ x + mk.base[m]["b"] + alpha / r * sum(B[ib[j]] * (A[ia[j]] @ x) for j in range(r)))
            if good:
                break
        for e in range(n):
            tensors[f"{m}.lora_A.{e}"], tensors[f"{m}.lora_B.{e}"] = A[e:e + 1], B[e:e + 1]
        tensors[m + ".cmoa_selector.loraA_selector.weight"] = Wa
        if paired:
            tensors[m + ".cmoa_loarB_extra_selector.loraB_selector.weight"] = Wb
            tensors[m + ".cmoa_loarB_extra_selector.loraA_param2loraB_selector.weight"] = Wc
        else:
            tensors[m + ".cmoa_selector.loraB_selector.weight"] = Wb
        xs[m], fields[m, "Y"] = X, np.stack(Y)
    mk.adapter(kind, "", {"peft_type": "MIXLORA_CONDITIONAL", "cond_type": "input_lora_a_param" if paired else "input", "ifs_weight": weight,
                          "independent_rank": True, "lora_alpha": alpha, "n_experts": n, "r": r, "used_scored_weight": False}, tensors)
    mk.case(kind, {m: mk.base[m] for m in xs}, xs, fields, raw={"instances": ("i32", np.array(list(zip(cut, cut[1:]))))})


def mtl(mk, diagonal):
    r, n, n_tasks, tau, alpha = 5, 4, 3, 0.3, 11.0
    kind, tensors, xs, fields = "mtl_lora" + ("_diag" if diagonal else ""), {}, {}, {}
    for m, size in mk.modules.items():
        A, Bs = mk.rand(1, r, size[0], scale=size[0] ** -0.5), mk.rand(n, size[1], r, scale=0.5)
        L, w, scaler = mk.rand(n_tasks, *([r] if diagonal else [r, r])), mk.rand(n_tasks, n), mk.rand(1)[0]
        sig = 1 / (1 + np.exp(-scaler)) if diagonal else 1.0
        tensors.update({m + ".lora_A": A, m + ".lora_B": Bs, m + ".lora_lambdas": L, m + ".lora_B_w": w})
        if diagonal:
            tensors[m + ".lora_scaler"] = scaler
        xs[m] = mk.x(size)
        for t in range(n_tasks):
            core = np.diag(L[t]) if diagonal else L[t]
            B = sum(share * part for share, part in zip(softmax(w[t] / tau), Bs))
            V = mk.base[m]["W"] + alpha / r * sig * (B @ core @ A[0])
            fields[m, f"Y.task{t}"] = xs[m] @ V.T + mk.base[m]["b"]
    mk.adapter(kind, "", {"peft_type": "MTL_LORA", "r": r, "lora_alpha": alpha, "B_num": n, "B_scale": tau, "lambda_num": n_tasks,
                          "diagonal_format": diagonal, "tunable_scaler": diagonal}, tensors)
    mk.case(kind, {m: mk.base[m] for m in xs}, xs, fields)


def sets(mk):
    """Folders of plain LoRAs: DLP-LoRA and X-LoRA with weights from the host, BoRA with tasks."""
    def folder(kind, name, r, alpha):
        pairs = {m: mk.pair(size, r) for m, size in mk.modules.items()}
        tensors = {}
        for m, (A, B) in pairs.items():
            tensors[m + ".lora_A.weight"], tensors[m + ".lora_B.weight"] = A, B
        mk.adapter(kind, name, {"peft_type": "LORA", "r": r, "lora_alpha": alpha}, tensors)
        return {m: alpha / r * (B @ A) for m, (A, B) in pairs.items()}

    for kind, per_module in (("dlp_lora", False), ("xlora_static", True)):
        names = [f"adapter{k}" for k in range(3)]
        deltas = [folder(kind, name, 2 + 3 * k, 5 + k) for k, name in enumerate(names)]
        xs = {m: mk.x(size) for m, size in mk.modules.items()}
        shared, fields, raw = mk.rand(mk.n_rows, 3), {}, {}
        for m in xs:
            w = mk.rand(mk.n_rows, 3) if per_module else shared
            w[0] = 0
            raw[m + ".row_weights" if per_module else "row_weights"] = ("f32", w)
            fields[m, "Y"] = xs[m] @ mk.base[m]["W"].T + mk.base[m]["b"] + sum(w[:, k:k + 1] * (xs[m] @ deltas[k][m].T) for k in range(3))
        mk.adapter(kind, "", {"peft_type": kind.upper(), "adapters": names}, None)
        mk.case(kind, {m: mk.base[m] for m in xs}, xs, fields, raw=raw)

    names = [f"task{k}" for k in range(4)]
    deltas = {name: folder("bora", name, 6, 3) for name in names + ["base_adapter"]}
    xs, fields = {m: mk.x(size) for m, size in mk.modules.items()}, {}
    for m in xs:
        serve = lambda delta: xs[m] @ (mk.base[m]["W"] + delta).T + mk.base[m]["b"]
        for name in deltas:
            fields[m, "Y." + name] = serve(deltas[name][m])
        for name in names:
            fields[m, f"Y.{name}_joined"] = serve(deltas[name][m] + deltas["base_adapter"][m])
    mk.adapter("bora", "", {"peft_type": "BORA", "adapters": names, "base_adapter": "base_adapter"}, None)
    mk.case("bora", {m: mk.base[m] for m in xs}, xs, fields)


def linear_network(mk):
    """Frozen orthogonal layers; exact from rank ceil(width / depth) on (2310.17513)."""
    width, depth = 21, 3
    W = [np.linalg.qr(mk.rng.standard_normal((width, width)))[0].astype(np.float32).astype(np.float64) for _ in range(depth)]
    target = mk.rand(width, width, scale=width**-0.5)
    product = lambda ms: np.linalg.multi_dot(ms[::-1]) if len(ms) > 1 else ms[0] if ms else np.eye(width)
    E = target - product(W)
    V = np.linalg.svd(E)[2].T
    names = [f"model.layers.{l}.fc" for l in range(depth)]
    X, fields, ranks = mk.rand(mk.n_rows, width), {}, []
    fields["", "Y.target"] = X @ target.T
    for r in (6, 7):
        adapted, tensors = [], {}
        for l in range(depth):
            own = V[:, r * l:r * (l + 1)]
            B = (np.linalg.inv(product(W[l + 1:])) @ E @ own).astype(np.float32)
            A = (own.T @ np.linalg.inv(product(adapted))).astype(np.float32)
            tensors[names[l] + ".lora_A.weight"], tensors[names[l] + ".lora_B.weight"] = A, B
            adapted.append(W[l] + B.astype(np.float64) @ A.astype(np.float64))
        folder = f"rank_{r:02d}"
        mk.adapter("expressive_power_linear", folder, {"peft_type": "LORA", "r": r, "lora_alpha": r, "target_modules": ["fc"]}, tensors)
        fields["", folder + ".Y"] = X @ product(adapted).T
        ranks.append({"folder": folder, "rank": r})
    layers = {name: {"W": w, "b": np.zeros(width)} for name, w in zip(names, W)}
    mk.case("expressive_power_linear", layers, {names[0]: X}, fields, 1e-4, meta={"ranks": ranks})


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    mk = Maker(int(sys.argv[1]), sys.argv[2])
    lora_like(mk)
    quantised_dora(mk)
    chains(mk)
    shared_factors(mk)
    if mk.group:
        pooled(mk)
    multiplied(mk)
    meteora(mk)
    for choice in (False, True):
        mixlora(mk, choice)
        mtl(mk, choice)
    sets(mk)
    linear_network(mk)
    json.dump({"cases": sorted(mk.cases), "format": 1, "seed": mk.seed}, open(os.path.join(mk.root, "index.json"), "w"), indent=1)
    print(f"{len(mk.cases)} cases of seed {mk.seed} in {mk.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
