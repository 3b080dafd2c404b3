"""Counts the tests of ctest's JUnit reports: what failed, what was skipped and why (whole tests, and parts
of tests that ran), and one closing line. Usage: summary.py REPORT.xml..."""
import re
import sys
import xml.etree.ElementTree as tree


def last_lines(case, count):
    text = case.findtext("system-out") or ""
    return [line for line in text.strip().splitlines() if line.strip()][-count:]


def reason(case):
    lines = last_lines(case, 1000)
    said = [line for line in lines if re.search(r"\bskip", line, re.IGNORECASE)]
    return (said or lines or ["no reason given"])[-1].strip()


def left_out(case):
    """What a program that ran left out of itself: its own reasons, or else its own count of them."""
    lines = last_lines(case, 100000)
    said = [line.strip() for line in lines if re.match(r"\s*skipped\b\s*:", line, re.IGNORECASE)]
    counted = 0
    for line in lines:
        match = re.search(r"\b([1-9]\d*) skipped\b", line) or \
            re.search(r"\(skipped=(\d+)\)", line)  # the harness; Python's unittest
        counted += int(match.group(1)) if match else 0
    said += [line.strip() for line in lines if re.search(r"\.\.\. skipped '", line)]
    if counted > len(said):
        said.append(f"{counted - len(said)} parts without a reason")
    return said


def main():
    passed, failed, skipped, parts = [], [], [], []
    for report in sys.argv[1:]:
        try:
            root = tree.parse(report).getroot()
        except (OSError, tree.ParseError) as error:
            failed.append((report, f"no report: {error}"))
            continue
        for case in root.iter("testcase"):
            name = f"{report.split('/')[0]}: {case.get('name')}"
            if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
                skipped.append((name, reason(case)))
            elif case.find("failure") is not None or case.get("status") == "fail":
                failed.append((name, case.find("failure").get("message", "")
                               if case.find("failure") is not None else ""))
            else:
                passed.append(name)
                parts += [(name, text) for text in left_out(case)]
    for name, text in parts:
        print(f"part skipped  {name}: {text}")
    for name, text in skipped:
        print(f"skipped  {name}: {text}")
    for name, text in failed:
        print(f"FAILED   {name} {text}")
    if parts:
        print(f"{len(parts)} parts of tests that ran were skipped, for the reasons above")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
