#!/usr/bin/env python3
"""Small models with random weights, one per architecture: the graphs of the real ones, in a few MiB.

Usage: make_models.py FOLDER [NAME...]      writes FOLDER/NAME.gguf; all names without one

Every feature that changes the graph is there: grouped heads, biases, norms of q and k, post-norms,
frequency factors, sliding windows shorter than the tests' prompts, soft-capping, layers without
positions, fused weights, experts, attention sinks. The same name gives the same file everywhere.
"""
import array
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gguf_file  # noqa: E402  (found through the path above)

N_VOCAB, N_BYTES = 320, 256
LAYERS, HEADS, KV_HEADS, HEAD, FFN, EXPERTS, USED = 3, 4, 2, 32, 256, 4, 2
WIDTH = HEADS * HEAD
WINDOW = 16
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


class Model:
    """One architecture. What is not given is as in Llama 2."""

    def __init__(self, arch, layers=LAYERS, width=WIDTH, head=HEAD, kv_heads=KV_HEADS, tied=False,
                 rotary_pairs=False, post_norms=None, qk_norm=None, qkv_bias=False, out_bias=False,
                 fused=False, ffn_norm="ffn_norm", experts=False, expert_bias=False, sinks=False,
                 factors=(), meta=None):
        self.arch, self.layers, self.width = arch, layers, width
        self.head, self.kv_heads = head, kv_heads
        self.tied, self.rotary_pairs, self.fused, self.experts = tied, rotary_pairs, fused, experts
        self.post_norms, self.qk_norm = post_norms or (), qk_norm
        self.qkv_bias, self.out_bias, self.ffn_norm = qkv_bias, out_bias, ffn_norm
        self.expert_bias, self.sinks, self.factors = expert_bias, sinks, factors
        self.meta = meta or {}

    def chooses(self):
        """Whether each token goes to some of the experts."""
        return self.experts and self.meta["expert_used_count"] < self.meta["expert_count"]

    def linears(self):
        """(PEFT module, GGUF weight, inputs, outputs) of the layers that take adapters."""
        q, kv, d = HEADS * self.head, self.kv_heads * self.head, self.width
        if self.fused:
            out = [("self_attn.qkv_proj", "attn_qkv", d, q + 2 * kv)]
        else:
            out = [("self_attn.q_proj", "attn_q", d, q), ("self_attn.k_proj", "attn_k", d, kv),
                   ("self_attn.v_proj", "attn_v", d, kv)]
        out.append(("self_attn.o_proj", "attn_output", q, d))
        if self.experts:
            return out
        if self.fused:
            out.append(("mlp.gate_up_proj", "ffn_up", d, 2 * FFN))
        else:
            out += [("mlp.gate_proj", "ffn_gate", d, FFN), ("mlp.up_proj", "ffn_up", d, FFN)]
        return out + [("mlp.down_proj", "ffn_down", FFN, d)]


EXPERT_META = {"expert_count": EXPERTS, "expert_used_count": USED}
# Where a choice between experts cannot flip, results can be compared under rounding settings too.
ALL_EXPERTS = {"expert_count": EXPERTS, "expert_used_count": EXPERTS}
MODELS = {
    "llama2": Model("llama", rotary_pairs=True),
    "llama3": Model("llama", rotary_pairs=True, tied=True, factors=("rope_freqs",),
                    meta={"rope.freq_base": 500000.0}),
    "llama-256": Model("llama", rotary_pairs=True, layers=2, width=256, head=64),
    "qwen2": Model("qwen2", tied=True, qkv_bias=True, meta={"rope.freq_base": 1000000.0}),
    "qwen2-yarn": Model("qwen2", layers=2, qkv_bias=True,
                        meta={"rope.freq_base": 1000000.0, "rope.scaling.type": "yarn",
                              "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32}),
    "qwen3": Model("qwen3", width=96, tied=True, qk_norm="head"),
    "gemma": Model("gemma", width=96, tied=True),
    "gemma2": Model("gemma2", layers=4, tied=True, post_norms=("post_attention_norm", "post_ffw_norm"),
                    meta={"attention.sliding_window": WINDOW, "attn_logit_softcapping": 5.0,
                          "final_logit_softcapping": 3.0}),
    "gemma3": Model("gemma3", layers=4, width=96, tied=True, qk_norm="head",
                    post_norms=("post_attention_norm", "post_ffw_norm"),
                    meta={"attention.sliding_window": WINDOW, "rope.freq_base": 1000000.0,
                          "attention.sliding_window_pattern": 3, "rope.scaling.type": "linear",
                          "rope.scaling.factor": 8.0, "rope.freq_base_swa": 10000.0}),
    "phi3": Model("phi3", fused=True, factors=("rope_factors_long", "rope_factors_short"),
                  meta={"rope.scaling.original_context_length": 64, "rope.scaling.attn_factor": 1.19,
                        "attention.sliding_window": 2047}),
    "smollm3": Model("smollm3", layers=4, tied=True, rotary_pairs=True),
    "mixtral": Model("llama", rotary_pairs=True, experts=True, meta=ALL_EXPERTS),
    "qwen3moe": Model("qwen3moe", tied=True, qk_norm="head", experts=True,
                      meta=dict(EXPERT_META, expert_feed_forward_length=FFN)),
    "olmoe": Model("olmoe", kv_heads=HEADS, qk_norm="width", experts=True, meta=EXPERT_META),
    "gpt-oss": Model("gpt-oss", layers=2, qkv_bias=True, out_bias=True, ffn_norm="post_attention_norm",
                     experts=True, expert_bias=True, sinks=True,
                     meta=dict(ALL_EXPERTS, expert_feed_forward_length=FFN,
                               **{"attention.sliding_window": WINDOW})),
}


class Weights:
    """Tensors of one model, drawn from a generator seeded by its name."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tensors = []

    def values(self, count, centre, spread):
        """Uniform in [centre - spread, centre + spread)."""
        raw = array.array("h", self.random.randbytes(2 * count))
        return array.array("f", [centre + spread * x / 32768.0 for x in raw])

    def matrix(self, name, *shape):
        count = 1
        for extent in shape:
            count *= extent
        self.tensors.append((name + ".weight", shape, self.values(count, 0.0, (3.0 / shape[0]) ** 0.5)))

    def vector(self, name, length, centre, spread):
        self.tensors.append((name, (length,), self.values(length, centre, spread)))

    def norm(self, name, length):
        self.vector(name + ".weight", length, 1.0, 0.25)


def add_attention(weights, model, block):
    weights.norm(block + "attn_norm", model.width)
    for _, name, inputs, outputs in model.linears():
        if not name.startswith("attn"):
            continue
        weights.matrix(block + name, inputs, outputs)
        if model.qkv_bias if name != "attn_output" else model.out_bias:
            weights.vector(block + name + ".bias", outputs, 0.0, 0.1)
    if model.qk_norm:
        for name, heads in (("attn_q_norm", HEADS), ("attn_k_norm", model.kv_heads)):
            weights.norm(block + name, model.head * (1 if model.qk_norm == "head" else heads))
    if model.sinks:
        weights.vector(block + "attn_sinks.weight", HEADS, 0.0, 2.0)


def add_experts(weights, model, block):
    shapes = {"ffn_gate_exps": (model.width, FFN), "ffn_up_exps": (model.width, FFN),
              "ffn_down_exps": (FFN, model.width)}
    weights.matrix(block + "ffn_gate_inp", model.width, EXPERTS)
    if model.expert_bias:
        weights.vector(block + "ffn_gate_inp.bias", EXPERTS, 0.0, 0.1)
    for name, shape in shapes.items():
        weights.matrix(block + name, *shape, EXPERTS)
        if model.expert_bias:
            weights.tensors.append((block + name + ".bias", (shape[1], EXPERTS),
                                    weights.values(shape[1] * EXPERTS, 0.0, 0.1)))


def add_layer(weights, model, block):
    add_attention(weights, model, block)
    weights.norm(block + model.ffn_norm, model.width)
    for name in model.post_norms:
        weights.norm(block + name, model.width)
    if model.experts:
        add_experts(weights, model, block)
        return
    for _, name, inputs, outputs in model.linears():
        if name.startswith("ffn"):
            weights.matrix(block + name, inputs, outputs)


def tensors_of(name, model):
    weights = Weights("oclora " + name)
    weights.matrix("token_embd", model.width, N_VOCAB)
    weights.norm("output_norm", model.width)
    if not model.tied:
        weights.matrix("output", model.width, N_VOCAB)
    for factor in model.factors:
        weights.vector(factor + ".weight", model.head // 2, 2.0, 0.9)
    for layer in range(model.layers):
        add_layer(weights, model, f"blk.{layer}.")
    return weights.tensors


def tokenizer():
    """Bytes and words that mean nothing: the tests feed ids. Phi-3 looks for its end of text."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(N_BYTES)]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * N_BYTES
    rest = N_VOCAB - len(tokens)
    tokens += ["<|endoftext|>"] + [f"\u2581w{number}" for number in range(rest - 1)]
    return {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.scores": (gguf_file.F32, [-float(i) for i in range(N_VOCAB)]),
            "tokenizer.ggml.token_type": (gguf_file.I32, kinds + [NORMAL] * rest),
            "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.unknown_token_id": 0}


def metadata_of(name, model):
    own = {"context_length": 512, "embedding_length": model.width, "block_count": model.layers,
           "feed_forward_length": FFN, "attention.head_count": HEADS,
           "attention.head_count_kv": model.kv_heads, "attention.key_length": model.head,
           "attention.value_length": model.head, "rope.dimension_count": model.head,
           "attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": N_VOCAB}
    own.update(model.meta)
    meta = {"general.architecture": model.arch, "general.name": "random " + name}
    meta.update({f"{model.arch}.{key}": value for key, value in own.items()})
    meta.update(tokenizer())
    return meta


def make(name, path):
    model = MODELS[name]
    part = f"{path}.{os.getpid()}"
    gguf_file.write(part, metadata_of(name, model), tensors_of(name, model))
    os.replace(part, path)


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2
    unknown = [name for name in sys.argv[2:] if name not in MODELS]
    if unknown:
        print(f"make_models.py: no model is called {unknown[0]}; there are {', '.join(MODELS)}")
        return 2
    os.makedirs(sys.argv[1], exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        make(name, os.path.join(sys.argv[1], name + ".gguf"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
