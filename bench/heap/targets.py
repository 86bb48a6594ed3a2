# SPDX-License-Identifier: BSD-3-Clause
"""What the heap is held to: named figures, computed from the rows of the parts that were run."""

import math

SMALL = ("mix", "64")
LARGE = ("64K", "1M", "4M")


def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def ratios(cells, peer):
    return [row["ratio"][peer] for row in cells if peer in row["ratio"]]


def least(values):
    return min(values, default=None)


def most(values):
    return max(values, default=None)


class Judge:
    def __init__(self, parts):
        self.parts = parts
        self.results = []

    def rows(self, part, **want):
        return [row for row in self.parts.get(part, ())
                if all(row[k] in (v if isinstance(v, tuple) else (v,)) for k, v in want.items())]

    def at_most(self, name, value, target, unit=""):
        self.add(name, value, target, "<=", unit, lambda: value <= target)

    def at_least(self, name, value, target, unit=""):
        self.add(name, value, target, ">=", unit, lambda: value >= target)

    def add(self, name, value, target, relation, unit, met):
        if value is not None:
            self.results.append({"name": name, "value": value, "target": target, "relation": relation, "unit": unit,
                                 "met": met()})

    def judge(self):
        self.small()
        self.larger()
        self.pools_and_sizes()
        self.bulk()
        self.usable()
        self.lifetime()
        return self.results

    def small(self):
        every = self.rows("speed", size=SMALL)
        cells = [row for row in every if row["pattern"] != "realloc"]
        self.at_most("small geomean vs jemalloc", geomean(ratios(cells, "jemalloc")), 0.60)
        self.at_most("small geomean vs tcmalloc", geomean(ratios(cells, "tcmalloc")), 1.05)
        self.at_most("small worst cell vs jemalloc", most(ratios(every, "jemalloc")), 1.10)
        self.at_least("small geomean, times faster than memkind", geomean(1 / r for r in ratios(cells, "memkind")), 10)

    def larger(self):
        cells = [row for row in self.rows("speed", size="4K") if row["pattern"] != "realloc"]
        self.at_most("4 KiB geomean vs jemalloc", geomean(ratios(cells, "jemalloc")), 0.15)
        self.at_least("4 KiB geomean, times faster than memkind", geomean(1 / r for r in ratios(cells, "memkind")), 15)
        pairs = self.rows("speed", size=LARGE, pattern="pair", threads=1)
        self.at_most("cached pair of 64 KiB to 4 MiB, slowest", most(row["ns"]["pmbroker"] for row in pairs
                                                                     if "pmbroker" in row["ns"]), 10, "ns")
        handed = self.rows("speed", pattern="prodcons")
        self.at_least("producer-consumer, least times faster than memkind",
                      least(1 / r for r in ratios(handed, "memkind")), 2)

    def pools_and_sizes(self):
        turns = self.rows("pools", heaps=16)
        self.at_most("pair, 16 pools in turn, slower of mix and 64 B", most(row["ns"]["pmbroker"] for row in turns
                                                                           if "pmbroker" in row["ns"]), 15, "ns")
        told = self.rows("sized", pattern="pair", size="mix")
        self.at_most("pair 16-512 B, sized free vs free", most(ratios(told, "free")), 0.5)
        self.at_most("the same without what calling costs", most(row["net"] for row in told if row["net"]), 0.5)

    def bulk(self):
        for row in self.rows("bulk"):
            self.at_most(f"bulk {row['size']} vs mimalloc", row["ratio"].get("mimalloc"), 1.5)

    def usable(self):
        for row in self.rows("usable"):
            mib, what = row["pool_mib"], row["fill"]
            first, everything = row["first"].get("pmbroker"), row["all"].get("pmbroker")
            name = f"usable {mib} MiB"
            if what in ("64", "4K", "64K", "1M", "8M"):
                self.at_least(f"{name}, {what}", first, 1.0)
            elif what == "log" and mib == 256:
                self.at_least(f"{name}, 16 B to 1 MiB log-uniform", first, 0.91)
            elif what == "again":
                self.at_least(f"{name}, 1 MiB after 64 B", first, 1.0)
            elif what == "threads":
                self.at_least(f"{name}, 1 MiB after 8 live threads", first, 0.90)
                self.at_least(f"{name}, all after 8 live threads", everything, 0.99)

    def lifetime(self):
        for row in self.rows("create"):
            made, destroyed = row["create_us"]["pmbroker"], row["destroy_us"]["pmbroker"]
            if row["state"] == "empty":
                self.at_most("create a heap", made, 60, "us")
                self.at_most("destroy a heap", destroyed, 40, "us")
            elif row["state"] == "full":
                self.at_most("destroy 32 MiB full of 64 B", destroyed, 1500, "us")
        for row in self.rows("trim"):
            self.at_most("requests for giving back 200 MiB", row["requests"], 1)
            self.at_least("given back of 200 MiB", row["bytes"] / (200 << 20), 1.0)
