"""What the tests of `gradrtl.cluster` let workers do; a module, for workers import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradrtl.errors import UserError


@dataclass(frozen=True)
class Order:
    """What is to be done with `number`. `log`: a file in which each time that it is done makes a line."""

    number: int
    what: str = ""
    seconds: float = 0.0
    log: Path | None = None


def squares(orders: Sequence[Order]) -> list[dict[str, Any]]:
    return [one(order) for order in orders]


def one(order: Order) -> dict[str, Any]:
    if order.log is not None:
        with order.log.open("a") as file:
            file.write(f"{order.number} {os.getpid()}\n")
    time.sleep(order.seconds)
    if order.what == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.what == "wrong":
        raise UserError("no such number")
    if order.what == "large":
        much = b"1" * 800_000_000
        time.sleep(5)
        return {"square": len(much)}
    return {"square": order.number**2}


def orders(count: int, **given: Any) -> dict[int, Order]:
    return {number: Order(number, **given) for number in range(count)}


def same() -> str:
    return "these sources"


def of_each_process_another() -> str:
    return str(os.getpid())


if __name__ == "__main__":  # for tests that end it: jobs, orders, seconds of each, file of results, log
    import sys

    import cluster_work

    from gradrtl.cluster import Cluster, run
    from gradrtl.store import Store

    jobs, count, seconds, path, log = sys.argv[1:]
    todo = cluster_work.orders(int(count), seconds=float(seconds), log=Path(log))
    with Store(Path(path), "number", same()) as store:
        for number, _ in run(cluster_work.squares, todo, Cluster(int(jobs)), store=store, code=cluster_work.same):
            print(number, flush=True)
