"""Calls to actors of plain methods."""

from __future__ import annotations

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.small import MANY, actor_class, caller_task, client_class

ROWS = Rows()


@ROWS.row("1:1 actor calls sync", required=8, floor="ping-pong")
def one_sync(bench: Bench) -> Reading:
    api, actor = bench.api, actor_class(bench.api).remote()
    return bench.rate(lambda: api.get(actor.small_value.remote()))


@ROWS.row("1:1 actor calls async", required=20, floor="bare batched loop")
def one_async(bench: Bench) -> Reading:
    api, actor = bench.api, actor_class(bench.api).remote()
    return bench.rate(lambda: api.get([actor.small_value.remote() for _ in range(1000)]), 1000)


@ROWS.row("1:1 actor calls concurrent")
def one_concurrent(bench: Bench) -> Reading:
    api, actor = bench.api, actor_class(bench.api).options(max_concurrency=16).remote()
    return bench.rate(lambda: api.get([actor.small_value.remote() for _ in range(1000)]), 1000)


@ROWS.row("1:n actor calls async")
def one_to_many(bench: Bench) -> Reading:
    api, n = bench.api, bench.size(5000, 500)
    servers = [actor_class(api).remote() for _ in range(MANY)]
    client = client_class(api).remote(servers)
    return bench.rate(lambda: api.get(client.small_value_batch.remote(n)), n * len(servers))


@ROWS.row("n:n actor calls async", seconds=90)
def many_to_many(bench: Bench) -> Reading:
    api, n = bench.api, bench.size(5000, 500)
    servers = [actor_class(api).remote() for _ in range(MANY)]
    work = caller_task(api)
    return bench.rate(lambda: api.get([work.remote(servers, n) for _ in range(4)]), 4 * n)


@ROWS.row("n:n actor calls with arg async")
def many_with_argument(bench: Bench) -> Reading:
    api, n = bench.api, 1000
    clients = [client_class(api).remote(actor_class(api).remote()) for _ in range(MANY)]
    return bench.rate(
        lambda: api.get([client.small_value_batch_arg.remote(n) for client in clients]), n * len(clients)
    )
