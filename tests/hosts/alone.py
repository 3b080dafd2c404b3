"""Each row's logits are bitwise the same alone and in any batch, in prefill and in decode."""
import filecmp
import os

from support import NAMES, golden, start

TOKENS = 12
COMPANY = {
    "on": [("in one batch", []),
           ("interleaved, graphs of 16 tokens", ["--order", "interleaved", "--ubatch", 16])],
    "off": [("reversed", ["--order", "reversed"]),
            ("interleaved, graphs of 16 tokens", ["--order", "interleaved", "--ubatch", 16])],
}


def mixture(name, request, *parts):
    out = dict(request, id=name, adapters=[{"name": n, "weight": w} for n, w in parts])
    del out["adapter"]
    return out


def rows():
    wanted = [golden.requests([name], [index])[0] for index, name in enumerate(NAMES)]
    plain = golden.requests(["base"], [3])[0]
    named = golden.requests(["pirate"], [3])[0]
    wanted += [plain, named, mixture("zero", plain, ("pirate", 0)), mixture("one", named, ("pirate", 1)),
               mixture("mixed", plain, ("pirate", 0.5), ("json", 0.5)),
               mixture("kinds", plain, ("robot", 0.5), ("herald", 0.25), ("prof", 0.25))]
    return [dict(request, n=min(request["n"], TOKENS)) for request in wanted]


def serve(host, checks, name, wanted, options):
    folder = host.folder(name.replace(" ", "-").replace(",", ""))
    run = golden.run(host.program("oclora-generate"), host.model, host.folders, wanted, "--logits",
                     folder, *options, env=host.env)
    checks.check(run.status == 0, f"{name}: exit status {run.status}: {run.log[-600:]}")
    return folder


def same(checks, one, other, key, what):
    paths = [os.path.join(folder, key + ".f32") for folder in (one, other)]
    there = all(os.path.exists(path) and os.path.getsize(path) for path in paths)
    checks.check(there and filecmp.cmp(*paths, shallow=False), what)


def main():
    host, checks = start()
    wanted = rows()
    for flash, company in COMPANY.items():
        alone = serve(host, checks, f"alone flash {flash}", wanted, ["--parallel", 1, "-fa", flash])
        for name, options in company:
            folder = serve(host, checks, f"{name} flash {flash}", wanted, options + ["-fa", flash])
            for request in wanted:
                same(checks, alone, folder, request["id"],
                     f"{request['id']} alone and {name}, flash attention {flash}: logits differ")
        for left, right in (("zero", "base.3"), ("one", "pirate.3")):
            paths = [os.path.join(alone, key + ".f32") for key in (left, right)]
            checks.check(filecmp.cmp(*paths, shallow=False),
                         f"a mixture of weight {left} and {right} differ")
    checks.finish()


main()
