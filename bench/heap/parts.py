# SPDX-License-Identifier: BSD-3-Clause
"""What is measured, part by part. Each returns rows for the report (README.md says what is in them)."""

import statistics
import subprocess
import time

from workers import WorkerDied, WorkerFailed, Workers

ALLOCATORS = ("pmbroker", "jemalloc", "glibc", "tcmalloc", "mimalloc", "memkind")
SIZES = ("mix", "64", "4K", "64K", "1M", "4M")
LINE = "time {pattern} {size} {threads} {heaps} {sized:d}"
DEATHS_MAX = 3  # of a contender, in one row
SECONDS_MAX = 1.5  # of a contender in one row; one that has had them is measured once, and not again
BATCHES = ("lifo", "fifo", "random")


class Run:
    """How it is measured; and what went wrong meanwhile."""

    def __init__(self, build, place, rounds, only):
        self.build = build
        self.place = place
        self.rounds = rounds
        self.only = only
        self.failures = []  # that make the run a failed one
        self.notes = []     # that do not: a peer that crashes

    def wants(self, name):
        return not self.only or any(word in name for word in self.only)

    def note(self, where, error, name):
        text = f"{where}: {error}"
        peer_crash = name != "pmbroker" and isinstance(error, (WorkerDied, WorkerFailed))
        (self.notes if peer_crash else self.failures).append(text)
        print(f"  {text}", flush=True)

    def time(self, contenders, row):
        """Rounds in turn, the first of each left out; medians of times, and of the ratios in each round.

        contenders: by name, a worker and the row that it is to be asked for. One that does not survive a round is
        started anew for the next, until it has died often enough.
        """
        times = {name: [] for name in contenders}
        deaths = dict.fromkeys(contenders, 0)
        spent = dict.fromkeys(contenders, 0)
        names = list(contenders)
        for n in range(self.rounds + 1):
            for i in range(len(names)):
                name = names[(n + i) % len(names)]
                nsec = None
                try:
                    if deaths[name] < DEATHS_MAX and (spent[name] < SECONDS_MAX or n <= 1):
                        worker, asked = contenders[name]
                        begin = time.monotonic()
                        nsec = float(worker.ask(LINE.format(**asked))[0])
                        spent[name] += time.monotonic() - begin
                except (WorkerDied, WorkerFailed) as error:
                    deaths[name] += 1
                    self.note(f"{row_name(row)}, round {n}", error, name)
                if n > 0:
                    times[name].append(nsec)
        row["ns"] = {name: statistics.median(only_numbers(t)) for name, t in times.items() if only_numbers(t)}
        row["ratio"] = {}
        for name, t in times.items():
            pairs = [a / b for a, b in zip(times.get("pmbroker", ()), t) if a is not None and b is not None]
            if pairs and name != "pmbroker":
                row["ratio"][name] = statistics.median(pairs)
        return row


def only_numbers(values):
    return [v for v in values if v is not None]


def row_name(row):
    name = f"{row['pattern']} {row['size']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    if row["heaps"] > 1:
        name += f", {row['heaps']} pools"
    return name + (", sized free" if row["sized"] else "")


def rows(patterns, sizes, threads=(1,), heaps=(1,), sized=False):
    return [{"pattern": p, "size": s, "threads": t, "heaps": h, "sized": sized}
            for t in threads for p in patterns for s in sizes for h in heaps]


def timed(run, wanted, names, show, **how):
    done = []
    with Workers(run.build, names, run.place, **how) as workers:
        for row in wanted:
            if run.wants(row_name(row)):
                done.append(run.time({name: (worker, row) for name, worker in workers.items()}, row))
                show(done[-1])
    return done


def speed(run, show):
    wanted = []
    for threads in (1, 2):
        wanted += rows(("pair", *BATCHES, "churn"), SIZES, (threads,))
        wanted += rows(("realloc",), ("mix", "64", "4K"), (threads,))
    wanted += rows(("prodcons",), SIZES, (2,))
    return timed(run, wanted, ALLOCATORS, show)


def sized(run, show):
    """pmb_free_sized() beside pmb_free(): two processes of the same program. Of pairs, also without what calls cost."""
    done = []
    with Workers(run.build, ("pmbroker",), run.place) as plain, Workers(run.build, ("pmbroker",), run.place) as told:
        for pattern in ("pair", *BATCHES, "churn"):
            for row in rows((pattern,), ("mix", "64", "4K"), sized=True):
                if run.wants(row_name(row)):
                    contenders = {"pmbroker": (told["pmbroker"], row),
                                  "free": (plain["pmbroker"], dict(row, sized=False))}
                    if pattern == "pair":
                        contenders["calls"] = (plain["pmbroker"], dict(row, pattern="calls", sized=False))
                    done.append(run.time(contenders, row))
                    done[-1]["net"] = net(**done[-1]["ns"])
                    show(done[-1])
    return done


def net(pmbroker=None, free=None, calls=None):
    """What is left of the ratio when both have a cost of zero for being called."""
    return (pmbroker - calls) / (free - calls) if pmbroker and free and calls else None


def pools(run, show):
    return timed(run, rows(("pair",), ("mix", "64"), heaps=(1, 4, 16)), ("pmbroker", "jemalloc", "memkind"), show,
                 heaps=16, size=64)


def bulk(run, show):
    return timed(run, rows(("bulk",), ("64", "4K", "64K")), ALLOCATORS, show)


def usable(run, show):
    done = []
    with Workers(run.build, ("pmbroker", "memkind"), run.place, heaps=0) as workers:
        for mib in (32, 256, 1024):
            for what in ("64", "4K", "64K", "1M", "8M", "log", "again", "threads"):
                row = {"pool_mib": mib, "fill": what, "first": {}, "all": {}}
                if not run.wants(f"{what} {mib}M"):
                    continue
                for name, worker in workers.items():
                    try:
                        first, everything = (int(n) / (mib << 20) for n in worker.ask(f"fill {what} {mib}"))
                    except (WorkerDied, WorkerFailed) as error:
                        run.note(f"fill {what} {mib}M", error, name)
                        continue
                    row["first"][name] = first
                    row["all"][name] = everything
                done.append(row)
                show(row)
    return done


def create(run, show):
    done = {}
    out = subprocess.run([f"{run.build}/bench/heap/bare", "--place", run.place], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    for line in out.splitlines():
        name, state, made, destroyed = line.split()
        row = done.setdefault(state, {"state": state, "create_us": {}, "destroy_us": {}})
        row["create_us"][name] = float(made)
        row["destroy_us"][name] = float(destroyed)
    for row in done.values():
        show(row)
    return list(done.values())


def trim(run, show):
    with Workers(run.build, ("pmbroker",), run.place, heaps=0) as workers:
        given, requests, usec = workers["pmbroker"].ask("trim 200")
    row = {"bytes": int(given), "requests": int(requests), "us": float(usec)}
    show(row)
    return [row]


ALL = {"speed": speed, "sized": sized, "pools": pools, "bulk": bulk, "usable": usable, "create": create, "trim": trim}
