"""The kernels as SPIR-V: clang makes it (tests/support/spirv_layer.c puts it in the place of the source),
Intel's CPU runtime builds it, and the self-test of clinfo-bench judges the numbers. Items run in a child
process; one that crashes or takes too long is named and the rest goes on.

usage: test_spirv.py CLINFO_BENCH LAYER quick|all
Exit status 0 good, 1 an item failed, 77 no clang or no Intel runtime."""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

ITEM_LIMIT = 120
# What the runtime's way for SPIR-V cannot do: item of the self-test -> why. Counted as skipped; one that
# passes after all fails the test, so that the entry goes.
KNOWN = {}


def runtime():
    """The .icd file of Intel's CPU runtime among those in use."""
    folder = os.environ.get("OCL_ICD_VENDORS", "/etc/OpenCL/vendors")
    path = folder if folder.endswith(".icd") else os.path.join(folder, "intel.icd")
    return path if os.path.exists(path) else None


def run_from(bench, step, mode, first, env, log):
    """Items and the number of the last begun; an answer to it is missing if the child ended early."""
    read_end, write_end = os.pipe()
    command = [bench, "--step", step, "--step-device", "0", "--step-from", str(first), "--step-mode",
               str(mode)]
    shell = ["sh", "-c", f'exec 3>&{write_end}; exec "$@"', "sh"]
    with subprocess.Popen(shell + command, env=env, stdout=log, stderr=log, pass_fds=(write_end,),
                          start_new_session=True) as child:
        os.close(write_end)
        items, begun, buffer, why = [], None, b"", None
        deadline = time.monotonic() + ITEM_LIMIT
        while True:
            ready, _, _ = select.select([read_end], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                os.killpg(child.pid, signal.SIGKILL)
                why = f"took more than {ITEM_LIMIT} s"
                break
            data = os.read(read_end, 65536)
            if not data:
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in filter(None, lines):
                deadline = time.monotonic() + ITEM_LIMIT
                said = json.loads(line)
                if "begin" in said:
                    begun = said
                elif "item" in said:
                    items.append(said["item"])
                    begun = None
        os.close(read_end)
        status = child.wait()
    if begun:
        items.append({"name": begun["begin"], "status": "crash", "detail": why or f"exit status {status}"})
        return items, begun["number"] + 1
    if status:
        items.append({"name": step, "status": "crash", "detail": why or f"exit status {status}"})
    return items, None


def self_test(bench, step, mode, env, log):
    items, first = [], 0
    while first is not None:
        more, first = run_from(bench, step, mode, first, env, log)
        items += more
    return items


def main():
    bench, layer, extent = sys.argv[1:]
    clang, icd = os.environ.get("OCLORA_SPIRV_CLANG") or shutil.which("clang-22"), runtime()
    if not clang or not icd:
        print("skipped: there is no " + ("clang-22 (tools/setup isa)" if icd else "Intel CPU runtime "
                                         "(tools/setup runtimes)"))
        return 77
    env = dict(os.environ, OCL_ICD_VENDORS=icd, OPENCL_LAYERS=layer, OCLORA_SPIRV_CLANG=clang)
    # A folder of this test's own: binaries that other programs kept come from the source.
    env["OCLORA_CACHE_DIR"] = os.path.abspath("cache")
    log_path, bad, passed, skipped = "spirv.log", [], 0, 0
    with open(log_path, "w", encoding="utf-8") as log:
        for step in ("selftest_gpu",) if extent == "quick" else ("selftest_gpu", "selftest_cpu"):
            for item in self_test(bench, step, 0 if extent == "quick" else 1, env, log):
                name, good = item["name"], item["status"] in ("pass", "note", "info", "skip")
                if name in KNOWN:
                    skipped += 1
                    print(f"skipped: {name}: {KNOWN[name]}")
                    if good:
                        bad.append(f"{step} {name} passes: take it off the list of what cannot be done")
                elif good:
                    passed += 1
                else:
                    bad.append(f"{step} {name}: {item['status']} {item.get('detail', '')}")
    with open(log_path, encoding="utf-8", errors="replace") as log:
        built = log.read().count("spirv_layer: built")
    if not built:
        bad.append("no program came from SPIR-V: the layer was not loaded")
    print(*bad, sep="\n")
    print(f"SPIR-V: {built} programs, {passed} items passed, {len(bad)} failed, {skipped} skipped")
    return 1 if bad or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
