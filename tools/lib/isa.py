"""The kernels compiled for GPUs: which files with which defines, by which compilers, and what is read
off. Used by tools/isa-report; compilers come from tools/setup isa, or from PATH."""
import collections
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOME = os.environ.get("OCLORA_HOME") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "oclora")
UNPACKED = os.path.join(HOME, "isa")
PARSER_VERSION = "8"
FIELDS = ("registers", "local", "occupancy", "wide", "spills", "scratch")

AMD = ["gfx900", "gfx906", "gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1151", "gfx1200"]
NVIDIA = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
INTEL = ["tgllp", "dg2-g10", "pvc"]
TARGETS = AMD + NVIDIA + INTEL
QUICK = ["gfx90a", "gfx1100", "sm_75", "sm_90", "dg2-g10"]

# Every file with GPU-class kernels, and the defines that the host launches it with.
VARIANTS = [(f, "") for f in ("lora_shrink", "lora_expand", "lora_select", "rowscale", "linear_bias",
                              "norm", "softmax", "shape", "rope")]
VARIANTS += [("matmul_panel", f"-DTYPE={t} -DMR={r} -DNV=1") for t in (5, 3, 1, 4, 0, 2, 8, 10, 6) for r in (1, 8)]
VARIANTS += [("matmul_panel_group", f"-DTYPE={t} -DMR={r} -DNV=1") for t in (5, 3, 8) for r in (1, 8)]
VARIANTS += [("attention", f"-DDK={d} -DDV={d} -DK_TYPE={t} -DV_TYPE={t} -DROWS=1")
             for d, t in ((64, 1), (64, 0), (128, 1), (128, 3))]
VARIANTS += [("rows", f"-DLANES=1 -DTYPE={t}") for t in (0, 1, 5, 10)]
VARIANTS += [("quantize", f"-DTYPE={t}") for t in (3, 4, 5, 6, 7)]
VARIANTS += [("probe", f"-DPROBE_WIDTH={w}") for w in (1, 4)]
VARIANTS += [("matmul_plain", f"-DA_TYPE={t} -DNT=4") for t in (1, 0, 10, 8, 3, 5, 2, 4, 6, 7, 9)]
VARIANTS += [("matmul_plain", f"-DA_TYPE={t} -DNT=1") for t in (1, 5, 10)]
VARIANTS += [("elementwise", f"-DLANES=1 -DUNARY={u} -DGLU={g}") for u, g in ((8, 2), (5, 1), (7, 3))]
# The rest of what the host launches: held to the rules (no spills, ...), but no figures of them are kept.
CHECKED = [("attention", f"-DDK=64 -DDV=64 -DK_TYPE={t} -DV_TYPE={t} -DROWS=1") for t in range(2, 8)]
CHECKED += [("attention", "-DDK=80 -DDV=80 -DK_TYPE=0 -DV_TYPE=0 -DROWS=1")]
CHECKED += [("matmul_panel", f"-DTYPE={t} -DMR={r} -DNV=1") for t in range(11) for r in (1, 4, 8)
            if r == 4 or t in (7, 9)]
CHECKED += [("matmul_panel_group", f"-DTYPE={t} -DMR={r} -DNV=1") for t in range(11) for r in (1, 4, 8)
            if r == 4 or t not in (3, 5, 8)]
CHECKED += [("rows", f"-DLANES=1 -DTYPE={t}") for t in (2, 3, 4, 6, 7, 8, 9)]
CHECKED += [("quantize", f"-DTYPE={t}") for t in (8, 9, 10)] + [("probe", "-DPROBE_WIDTH=16")]
CHECKED += [("matmul_plain", f"-DA_TYPE={t} -DNT=1") for t in (0, 2, 3, 4, 6, 7, 8, 9)]
CHECKED += [("elementwise", f"-DLANES=1 -DUNARY={u} -DGLU={u % 6}") for u in range(17) if u not in (5, 7, 8)]
# What the compilers here cannot make though the chip's own can: (vendor, file, a define) -> why.
NOT_HERE = {("nvidia", "elementwise", f"-DUNARY={u}"): "libclc takes log() from NVIDIA's libdevice, which is "
            "a part of CUDA" for u in (12, 16)}
CPU_ONLY_FILES = {"chain", "lora_fused"}


class Failed(Exception):
    pass


def find(*names):
    for name in names:
        path = os.path.join(UNPACKED, "usr/bin", name)
        path = path if os.path.exists(path) else shutil.which(name)
        if path:
            return path
    return None


def libclc(*names):
    for name in names:
        for root in (UNPACKED, "/"):
            path = os.path.join(root, "usr/lib/clc", name)
            if os.path.exists(path):
                return path
    return None


CLANG = find("clang-22", "clang-19")
OCLOC = find("ocloc")
PTXAS = find("ptxas", "/usr/local/cuda/bin/ptxas")
LIBCLC = {"amd": libclc("amdgcn-amd-amdhsa.bc", "amdgcn--amdhsa.bc"),
          "nvidia": libclc("nvptx64--nvidiacl.bc")}


def vendor_of(target):
    return "amd" if target in AMD else "nvidia" if target in NVIDIA else "intel"


def lacking(vendor):
    """The tool that is missing for a vendor's targets; None if all are here."""
    if not CLANG:
        return "clang-22 (or 19)"
    if vendor == "intel":
        return None if OCLOC else "ocloc (package intel-opencl-icd)"
    if not LIBCLC[vendor]:
        return "libclc-22 (or 19)"
    return "ptxas (CUDA 13.0 or newer)" if vendor == "nvidia" and not PTXAS else None


def run(args, folder):
    env = dict(os.environ)
    libraries = os.path.join(UNPACKED, "usr/lib/x86_64-linux-gnu")
    if os.path.isdir(libraries):
        env["LD_LIBRARY_PATH"] = libraries + ":" + env.get("LD_LIBRARY_PATH", "")
    done = subprocess.run(args, capture_output=True, text=True, cwd=folder, env=env, check=False)
    if done.returncode:
        raise Failed((done.stderr or done.stdout).strip()[:600])
    return done.stdout + done.stderr


def version_of(vendor):
    """What the figures depend on besides the kernels."""
    words = []
    if vendor != "intel":
        words.append("clang " + re.search(r"version (\d[\d.]*)", run([CLANG, "--version"], "/")).group(1))
    if vendor == "nvidia":
        words.append("ptxas " + re.search(r"V(\d[\d.]*)", run([PTXAS, "--version"], "/")).group(1))
    if vendor == "intel":
        library = os.path.join(UNPACKED, "usr/lib/x86_64-linux-gnu/libocloc.so")
        library = library if os.path.exists(library) else "/usr/lib/x86_64-linux-gnu/libocloc.so"
        with open(library, "rb") as source:
            found = re.search(rb"\b2\d\.\d\d\.\d{2,5}", source.read())
        words.append("ocloc " + (found.group().decode() if found else "of unknown version"))
    return ", ".join(words)


def flat_source(file, defines, folder):
    """The kernel file as the GPU class sees it, without comments: for ocloc, and to tell changes."""
    run([CLANG, "-E", "-P", "-x", "cl", "-cl-std=CL1.2", "-nogpulib", "-w", "-target",
         "spir64-unknown-unknown", "-cl-no-stdinc", "-DOCLORA_CLASS_GPU=1", *defines.split(),
         "-I" + ROOT + "/cl", f"{ROOT}/cl/{file}.cl", "-o", "flat.cl"], folder)
    with open(folder + "/flat.cl", encoding="utf-8") as source:
        return source.read()


def source_hash(variant):
    with tempfile.TemporaryDirectory() as folder:
        text = flat_source(*variant, folder)
    return hashlib.sha256("".join(text.split()).encode()).hexdigest()[:16]


def clang(vendor, chip, extra, file, defines, folder):
    triple = "amdgcn-amd-amdhsa" if vendor == "amd" else "nvptx64-nvidia-nvcl"
    run([CLANG, "-x", "cl", "-cl-std=CL1.2", "-Xclang", "-finclude-default-header", "-target", triple,
         chip, "-O3", "-nogpulib", "-w", "-Xclang", "-mlink-builtin-bitcode", "-Xclang", LIBCLC[vendor],
         "-DOCLORA_CLASS_GPU=1", *defines.split(), "-I" + ROOT + "/cl", *extra,
         f"{ROOT}/cl/{file}.cl"], folder)


def amd_figures(targets, file, defines, folder):
    for target in targets:
        clang("amd", "-mcpu=" + target, ["-S", "-o", "k.s"], file, defines, folder)
        with open(folder + "/k.s", encoding="utf-8", errors="replace") as source:
            yield target, amd_read(source.read())


def amd_read(text):
    bodies, name = {}, None
    for line in text.splitlines():
        label = re.match(r"([A-Za-z_]\w*):", line)
        if label:
            name = label.group(1)
            bodies[name] = {"wide": 0, "occupancy": 0, "called": set()}
        if name is None:
            continue
        if re.search(r"\b(global|flat|buffer)_load_(b64|b96|b128|dwordx[234])\b", line):
            bodies[name]["wide"] += 1
        bodies[name]["called"].update(re.findall(r"\b(\w+)@(?:rel32|gotpcrel32)@lo", line))
        found = re.match(r"; Occupancy: (\d+)", line)
        if found:
            bodies[name]["occupancy"] = int(found.group(1))
    figures = {}
    for block in re.split(r"\n  - \.", text[text.find("amdhsa.kernels:"):])[1:]:
        def field(key, block=block):
            found = re.search(r"\." + key + r":\s+(\S+)", "." + block)
            return found.group(1) if found else "0"
        kernel = field("symbol").replace(".kd", "")
        if kernel not in bodies:
            continue
        # Scalar registers are spilled to vector ones, which costs no memory.
        figures[kernel] = {
            "registers": int(field("vgpr_count")), "local": int(field("group_segment_fixed_size")),
            "occupancy": bodies[kernel]["occupancy"], "wide": bodies[kernel]["wide"],
            "spills": int(field("vgpr_spill_count")),
            "scratch": int(field("private_segment_fixed_size")),
            "unresolved": sum(not re.search(rf"^{c}:", text, re.M)
                              for c in bodies[kernel]["called"])}
    return figures


def nvidia_occupancy(registers, local, threads, target):
    """Warps a multiprocessor holds, of how many it could, from registers and local memory."""
    warps_most = {"sm_75": 32, "sm_86": 48, "sm_89": 48, "sm_120": 48}.get(target, 64)
    shared = {"sm_75": 64, "sm_86": 100, "sm_89": 100, "sm_120": 100, "sm_80": 164}.get(target, 228)
    warps = (threads + 31) // 32
    per_warp = (max(registers, 1) * 32 + 255) // 256 * 256
    groups = 65536 // (per_warp * warps)
    if local:
        groups = min(groups, shared * 1024 // (local + 1024))
    return min(groups * warps, warps_most)


# libclc leaves these to NVIDIA's own library, which the driver links.
NVIDIA_LIBRARY = """
int __nv_isinff(float x) { return (as_uint(x) & 0x7fffffffu) == 0x7f800000u; }
float __nv_sqrtf(float x) { float y; __asm__("sqrt.rn.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
"""


def nvidia_figures(targets, file, defines, folder):
    """PTX is made once, of the oldest chip's kind, as ptxas may translate it for every newer one. clang
    keeps each kernel's body in a function beside it that it forbids to inline; drivers do not."""
    with open(folder + "/library.h", "w", encoding="utf-8") as library:
        library.write(NVIDIA_LIBRARY)
    clang("nvidia", "-march=" + NVIDIA[0],
          ["-include", "library.h", "-S", "-emit-llvm", "-o", "k.ll"], file, defines, folder)
    with open(folder + "/k.ll", encoding="utf-8") as source:
        text = re.sub(r"^(attributes .*?) noinline ", r"\1 ", source.read(), flags=re.M)
    with open(folder + "/k.ll", "w", encoding="utf-8") as out:
        out.write(text)
    run([CLANG, "-x", "ir", "-target", "nvptx64-nvidia-nvcl", "-march=" + NVIDIA[0], "-O3", "-w", "-S",
         "k.ll", "-o", "k.ptx"], folder)
    with open(folder + "/k.ptx", encoding="utf-8") as source:
        text = source.read()
    unresolved = len(re.findall(r"^\.extern \.func", text, re.M))
    parts = re.split(r"\.entry\s+(\w+)\s*\(", text)
    bodies = dict(zip(parts[1::2], parts[2::2]))
    for target in targets:
        log = run([PTXAS, "-arch=" + target, "-v", "k.ptx", "-o", "k.cubin"], folder)
        yield target, nvidia_read(target, bodies, unresolved, log)


def nvidia_read(target, bodies, unresolved, log):
    figures = {}
    for kernel, said in re.findall(r"Function properties for (\w+)\n(.*\n.*Used .*)\n", log):
        if kernel not in bodies:
            continue
        size = re.search(r"\.reqntid (\d+)(?:, (\d+))?(?:, (\d+))?", bodies[kernel])
        threads = 1
        for number in (size.groups() if size else ("256",)):
            threads *= int(number or 1)
        shared = re.search(r"(\d+) bytes smem", said)
        f = {"registers": int(re.search(r"Used (\d+) registers", said).group(1)),
             "local": int(shared.group(1)) if shared else 0,
             "wide": len(re.findall(r"ld\.global(?:\.\w+)*\.v[24]\.", bodies[kernel])),
             "scratch": int(re.search(r"(\d+) bytes stack frame", said).group(1)),
             "spills": sum(map(int, re.findall(r"(\d+) bytes spill", said))),
             "unresolved": unresolved}
        f["occupancy"] = nvidia_occupancy(f["registers"], f["local"], threads, target)
        figures[kernel] = f
    if len(figures) != len(bodies):
        raise Failed(f"ptxas says nothing of {sorted(set(bodies) - set(figures))}")
    return figures


def intel_figures(targets, file, defines, folder):
    """ocloc sees no folder: the preprocessed source goes in."""
    flat_source(file, defines, folder)
    for target in targets:
        run([OCLOC, "compile", "-file", "flat.cl", "-device", target, "-options", "-cl-std=CL1.2",
             "--format", "zebin", "-out_dir", "out-" + target, "-output", "k"], folder)
        yield target, intel_read(folder + "/out-" + target)


def intel_read(folder):
    """Of Intel's compiler only SIMD width, private and local memory are to be had."""
    binary = b""
    for name in os.listdir(folder):
        if name.endswith(".bin"):
            with open(os.path.join(folder, name), "rb") as source:
                binary = source.read()
    start, end = max(binary.find(b"kernels:"), 0), binary.find(b"kernels_misc_info:")
    figures = {}
    for block in re.split(r"\n  - name:", binary[start:end].decode("ascii", "replace"))[1:]:
        kernel = block.split("\n", 1)[0].strip().strip("'\"")
        if kernel.startswith("Intel_Symbol_Table"):
            continue  # no kernel: what ocloc adds

        def number(key, block=block):
            found = re.search(key + r":\s+(\d+)", block)
            return int(found.group(1)) if found else 0
        private = sum(int(n) for n in re.findall(
            r"usage:\s+(?:private_space|spill_fill_space)\s+size:\s+(\d+)", block))
        figures[kernel] = {"registers": number("grf_count"), "local": number("slm_size"),
                           "occupancy": number("simd_size"), "wide": 0,
                           "spills": number("spill_size"), "scratch": private, "unresolved": 0}
    if not figures:
        raise Failed("no .ze_info in ocloc's output")
    return figures


READERS = {"amd": amd_figures, "nvidia": nvidia_figures, "intel": intel_figures}
Outcome = collections.namedtuple("Outcome", "variant figures error")  # figures: {target: {kernel: {}}}


def cache_folder():
    folder = os.path.join(os.environ.get("OCLORA_CACHE_DIR") or HOME, "isa", "figures")
    os.makedirs(folder, exist_ok=True)
    return folder


def figures_of(variant, vendor, targets, version, stamp, folder):
    """Outcome of one variant on targets of one vendor; what was compiled before comes from the cache
    folder. stamp: the variant's source_hash."""
    figures, paths = {}, {}
    for target in targets:
        key = hashlib.sha256(repr((PARSER_VERSION, target, variant, version, stamp)).encode()).hexdigest()
        paths[target] = os.path.join(folder, key + ".json")
        try:
            with open(paths[target], encoding="utf-8") as source:
                figures[target] = json.load(source)
        except (OSError, ValueError):
            pass
    wanted = [t for t in targets if t not in figures]
    with tempfile.TemporaryDirectory() as work:
        try:
            for target, read in (READERS[vendor](wanted, *variant, work) if wanted else ()):
                figures[target] = read
                with open(paths[target] + ".new", "w", encoding="utf-8") as out:
                    json.dump(read, out)
                os.replace(paths[target] + ".new", paths[target])
        except Failed as error:
            return Outcome(variant, figures, f"{vendor}: {error}")
    return Outcome(variant, figures, None)
