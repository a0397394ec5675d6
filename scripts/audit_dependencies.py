#!/usr/bin/env python3
"""Holds Cargo.lock against the RustSec advisory database and our own list of refused crates.

The database is a file, so that the audit needs no network:
RUSTSEC_DB, or ../shared/vectors/rustsec-advisory-db-*.tar.xz beside the
checkout. Without it only our own list is checked, and the script says so; with
CI=true its absence is a fault.
Exit code 0: nothing found; 1: findings, or no database where one must be.
"""
import glob
import os
import re
import subprocess
import sys
import tarfile
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REFUSED = {
    "bincode": "unmaintained",
    "openssl-sys": "one TLS stack only",
    "pkcs11": "unsound, RUSTSEC-2022-0034",
    "ring": "one crypto provider per algorithm",
    "rustls-pemfile": "unmaintained",
    "serde_yaml": "unmaintained",
    "sharks": "biased shares, RUSTSEC-2024-0398",
}
# Allowed below one crate only.
ONLY_BELOW = {"fxhash": {"sled"}, "instant": {"parking_lot", "parking_lot_core"}}
# Advisories that were read and judged: id -> reason.
JUDGED = {
    "RUSTSEC-2025-0057": "fxhash is unmaintained; it comes with sled 0.34.7 alone",
    "RUSTSEC-2024-0384": "instant is unmaintained; it comes with sled 0.34.7 alone",
}


def version_key(text):
    """A semver version as something that sorts: pre-releases before their release."""
    core, _, pre = text.split("+")[0].partition("-")
    numbers = [int(part) for part in core.split(".")]
    numbers += [0] * (3 - len(numbers))
    parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split(".")] if pre else []
    return (numbers, not pre, parts)


def in_range(version, requirement):
    """True where `version` meets every comparator of a RustSec requirement such as `>= 1.2, < 2`."""
    key = version_key(version)
    for comparator in requirement.split(","):
        match = re.fullmatch(r"\s*(\^|~|>=|<=|>|<|=)?\s*v?([0-9][0-9A-Za-z.+-]*)\s*", comparator)
        if match is None:
            raise ValueError(f"requirement not understood: {requirement!r}")
        operator, bound_text = match.group(1) or "^", match.group(2)
        bound = version_key(bound_text)
        if operator in ("^", "~"):
            parts = [int(p) for p in bound_text.split("-")[0].split(".")]
            if operator == "~":
                upper = parts[:2] if len(parts) > 1 else parts[:1]
            else:
                significant = next((i for i, p in enumerate(parts) if p), len(parts) - 1)
                upper = parts[: significant + 1]
            upper[-1] += 1
            ok = bound <= key < version_key(".".join(map(str, upper)))
        else:
            ok = {">=": key >= bound, "<=": key <= bound, ">": key > bound, "<": key < bound, "=": key == bound}[operator]
        if not ok:
            return False
    return True


def advisories(path):
    """Every advisory of the database: (id, crate, patched, unaffected, withdrawn)."""
    with tarfile.open(path) as archive:
        for member in archive:
            if not re.search(r"/crates/[^/]+/RUSTSEC-[0-9-]+\.md$", "/" + member.name):
                continue
            text = archive.extractfile(member).read().decode()
            front = tomllib.loads(re.search(r"```toml\n(.*?)```", text, re.S).group(1))
            advisory, versions = front["advisory"], front.get("versions", {})
            yield advisory["id"], advisory["package"], versions.get("patched", []), versions.get("unaffected", []), "withdrawn" in advisory


def main():
    with open(os.path.join(ROOT, "Cargo.lock"), "rb") as file:
        packages = tomllib.load(file)["package"]
    # The lock file also names crates that no enabled feature builds; only what is built counts.
    tree = subprocess.run(
        ["cargo", "tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}", "--edges", "normal,build,dev"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout
    built = {line.split(" ")[0] for line in tree.splitlines() if line}
    findings = [f"{name}: refused, {why}" for name, why in REFUSED.items() if name in built]
    for package in packages:
        for dependency in package.get("dependencies", []):
            name = dependency.split(" ")[0]
            if name in ONLY_BELOW and package["name"] not in ONLY_BELOW[name]:
                findings.append(f"{name}: allowed below {', '.join(sorted(ONLY_BELOW[name]))} only, but {package['name']} uses it")

    found = [os.environ["RUSTSEC_DB"]] if "RUSTSEC_DB" in os.environ else sorted(
        glob.glob(os.path.join(ROOT, "..", "shared", "vectors", "rustsec-advisory-db-*.tar.xz")))
    count = 0
    if found:
        versions = {}
        for package in packages:
            versions.setdefault(package["name"], []).append(package["version"])
        for advisory, crate, patched, unaffected, withdrawn in advisories(found[-1]):
            count += 1
            for version in versions.get(crate, []):
                if withdrawn or advisory in JUDGED or any(in_range(version, r) for r in patched + unaffected):
                    continue
                findings.append(f"{crate} {version}: {advisory}")
        if count < 500:
            findings.append(f"the advisory database has only {count} advisories: is it whole?")
    else:
        print("no advisory database: set RUSTSEC_DB to a tar of it; only our own list was checked", file=sys.stderr)
        if os.environ.get("CI") == "true":
            findings.append("CI needs the advisory database")

    for finding in findings:
        print(finding, file=sys.stderr)
    print(f"{len(packages)} packages, {count} advisories, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
