# SPDX-License-Identifier: BSD-3-Clause
"""Processes that are measured: one for each allocator, told by lines what to do (worker.c)."""

import subprocess


class WorkerDied(Exception):
    """The process ended where it should have answered."""


class WorkerFailed(Exception):
    """It answered that allocations failed."""


class Worker:
    """Started when it is first asked, and again when it has died."""

    def __init__(self, name, command):
        self.name = name
        self.command = command
        self.process = None

    def ask(self, line):
        """One question; returns the words of the answer after the first."""
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer will be missing, too
        answer = self.process.stdout.readline().split()
        if not answer:
            status = self.stop()
            raise WorkerDied(f"{self.name} ended by signal {-status}" if status < 0 else f"{self.name} gave up")
        if answer[0] == "failed":
            raise WorkerFailed(f"{self.name} failed {answer[1]} allocations")
        return answer[1:]

    def stop(self):
        if self.process is None:
            return 0
        self.process.stdin.close()
        status = self.process.wait()
        self.process.stdout.close()
        self.process = None
        return status


class Workers:
    """The contenders, by name; a context that ends them all."""

    def __init__(self, build, names, place, heaps=1, size=512):
        self.all = {}
        for name in names:
            command = [f"{build}/bench/heap/{name}", "--heaps", str(heaps), "--size", str(size)]
            if name == "memkind":
                command += ["--place", place]
            self.all[name] = Worker(name, command)

    def __enter__(self):
        return self.all

    def __exit__(self, *unused):
        for worker in self.all.values():
            worker.stop()
