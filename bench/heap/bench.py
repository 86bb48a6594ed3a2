#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measure the heap beside others, and say where it stands. README.md has what is measured, and the format of the JSON.

usage: bench.py --build DIR --place DIR [--rounds N] [--only WORD]... [--json FILE] [PART...]

A broker must be there (tools/bench.sh starts one). Exit status 0 unless something could not be measured: a target
that is missed is a result.
"""

import argparse
import json
import os
import platform
import sys
import time

import parts
import targets


def show_timed(row):
    cells = "".join(f"{row['ns'][name]:9.1f}" if name in row["ns"] else f"{'-':>9}" for name in parts.ALLOCATORS)
    against = "".join(f"{row['ratio'][name]:6.2f}" if name in row["ratio"] else f"{'':6}"
                      for name in ("jemalloc", "tcmalloc", "mimalloc"))
    faster = f"{1 / row['ratio']['memkind']:9.1f}" if "memkind" in row["ratio"] else ""
    print(f"{parts.row_name(row):32}{cells}  {against}{faster}", flush=True)


def head_timed():
    print(f"{'ns per allocation':32}" + "".join(f"{name:>9}" for name in parts.ALLOCATORS) +
          "    /je   /tc   /mi  memkind/")


def head_usable():
    print(f"{'share of the limit':32}{'pmbroker':>10}{'in all':>9}{'memkind':>11}{'in all':>9}")


def show_usable(row):
    cells = "".join(f"{row['first'].get(name, 0):10.2%}{row['all'].get(name, 0):10.2%}"
                    for name in ("pmbroker", "memkind"))
    print(f"{row['fill'] + ' in ' + str(row['pool_mib']) + ' MiB':32}{cells}", flush=True)


def show_create(row):
    print(f"heap, {row['state']}: " + "; ".join(
        f"{name} create {row['create_us'][name]:.1f} us, destroy {row['destroy_us'][name]:.1f} us"
        for name in row["create_us"]), flush=True)


def show_trim(row):
    print(f"trim: {row['bytes'] >> 20} MiB in {row['requests']} request(s), {row['us']:.0f} us", flush=True)


def head_sized():
    print(f"{'ns per allocation':40}{'sized':>9}{'free':>9}{'ratio':>9}{'calls':>9}{'net':>9}")


def show_sized(row):
    ns, ratio = row["ns"], row["ratio"]
    print(f"{parts.row_name(row):40}{ns.get('pmbroker', 0):9.1f}{ns.get('free', 0):9.1f}{ratio.get('free', 0):9.2f}" +
          (f"{ns['calls']:9.1f}{row['net']:9.2f}" if row["net"] else ""), flush=True)


TITLES = {
    "speed": "One pool",
    "sized": "Sized free",
    "pools": "Pools in turn",
    "bulk": "Beyond the caches: 1 M x 64 B, 40 k x 4 KiB, 4 k x 64 KiB live",
    "usable": "Usable share of the limit when NULL comes first, and in all",
    "create": "The heap itself, without a broker (32 MiB)",
    "trim": "Giving back 200 MiB of 4 KiB blocks",
}


SHOWS = {
    "speed": (head_timed, show_timed),
    "sized": (head_sized, show_sized),
    "pools": (head_timed, show_timed),
    "bulk": (head_timed, show_timed),
    "usable": (head_usable, show_usable),
    "create": (lambda: None, show_create),
    "trim": (lambda: None, show_trim),
}


def show_targets(results):
    print("\nTargets\n")
    for r in results:
        unit = f" {r['unit']}" if r["unit"] else ""
        print(f"{r['name']:52} {r['value']:10.4g}{unit:3} ({r['relation']} {r['target']:g}{unit})"
              f"  {'met' if r['met'] else 'MISSED'}")
    print(f"\n{sum(r['met'] for r in results)} of {len(results)} met")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("--build", required=True)
    parser.add_argument("--place", required=True)
    parser.add_argument("--pages", default="")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", action="append")
    parser.add_argument("--json")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*parts.ALL, []])
    args = parser.parse_args()

    run = parts.Run(args.build, args.place, args.rounds, args.only)
    report = {"bench": "heap", "format": 1, "kernel": platform.release(), "cpus": os.cpu_count(),
              "load": os.getloadavg()[0], "pages": args.pages, "rounds": args.rounds, "parts": {}}
    begin = time.monotonic()
    for name in args.parts or parts.ALL:
        print(f"\n{TITLES[name]}\n")
        head, show = SHOWS[name]
        head()
        try:
            report["parts"][name] = parts.ALL[name](run, show)
        except (OSError, ValueError, parts.WorkerDied, parts.subprocess.CalledProcessError) as error:
            run.failures.append(f"{name}: {error}")

    report["seconds"] = round(time.monotonic() - begin, 1)
    report["targets"] = targets.Judge(report["parts"]).judge()
    report["notes"] = run.notes
    report["failures"] = run.failures
    show_targets(report["targets"])
    for text in run.notes:
        print(f"note: {text}")
    for text in run.failures:
        print(f"FAILED: {text}", file=sys.stderr)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)
            f.write("\n")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
