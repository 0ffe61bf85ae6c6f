"""Messages between the head and the nodes' daemons: lists that begin with one of these numbers.

The comment behind each lists the fields that follow. In the head's own node they are handed over in the process;
between machines they travel over gRPC as the messages of `control.proto` (`plugins/native/head/rpc.py` translates).
Identifiers are bytes, resources {name: units}, certificates plain data.
"""

from __future__ import annotations

from typing import Any, Final

# At the beginning of a node's connection, before anything else
HANDSHAKE: Final = 70  # bytes of handshake.py, both ways
HELLO: Final = 71  # node identifier, number (0: new), protocol, version of Shoal, of Python
WELCOME: Final = 72  # number, {settings of the cluster}
REFUSED: Final = 73  # why
JOIN: Final = 74  # address, total, labels, facts

# Node → head
FROM_CLIENT: Final = 1  # client, message: a process of the node asks the head something
CLIENT_GONE: Final = 2  # client
RESOURCES: Final = 3  # available, leases that are waited for, total or nil if it is the same
ACTOR_PLACED: Final = 4  # actor, incarnation, worker, process id
ACTOR_REFUSED: Final = 5  # actor, incarnation, reason: there is no room any more
ACTOR_UNPLACEABLE: Final = 6  # actor, incarnation, certificate: no worker can be had for it
ACTOR_INFEASIBLE: Final = 7  # actor, text: no node can ever hold it
ACTOR_IS_READY: Final = 8  # actor, incarnation
ACTOR_RAISED: Final = 9  # actor, incarnation, pickled error, process id
ACTOR_LEAVES: Final = 10  # actor, certificate
ACTOR_GONE: Final = 11  # worker, certificate: the process of an actor has died
RESERVED: Final = 12  # group, attempt, reason: "" if the bundles are reserved
TO_CLIENT: Final = 13  # client, message: pass it on to a process of another node
RENEW: Final = 14  # the node's clock, seconds: its lease is to go on
LEAVING: Final = 15  # reason: goodbye
STATE: Final = (
    17  # clients, actors, groups, portions of quotas: what lives on a node that has connected again
)
# packed: [[what, how many, resources, why, job], ...] of what waits there, for people, and for an autoscaler
# [[units, labels, how many, what], ...] and what the node is needed for
DEMANDS: Final = 16
JOBS_USE: Final = (
    18  # {job: [units in use there, leases ended for others, {node: what of it it has borrowed}]}
)
QUOTA_ASK: Final = 19  # job, units, how often: its portion there does not allow them
QUOTA_RETURN: Final = 20  # job, units: a part of its portion there that is not used

# Head → node
CLIENT: Final = 40  # client, message: for a process of the node
START_ACTOR: Final = 41  # actor, incarnation, {specification}, whether to refuse if there is no room now
WITHDRAW_ACTOR: Final = 42  # actor: give its place back
END_WORKER: Final = 43  # worker, certificate
RESERVE: Final = 44  # group, attempt, {bundle: resources}, job
RELEASE: Final = 45  # group, attempt (0: all): bundles that were reserved, and what runs in them, end
GROUP: Final = 46  # group, state, {bundle: node number}
NODES: Final = 47  # [{node}, ...]: those that have changed
EXPLAIN_ACTOR: Final = 48  # client, request, actor, [line, ...]: add why it waits, and answer
GONE_CLIENTS: Final = 49  # [client, ...]: processes of other nodes that have ended
RENEWED: Final = 50  # the clock that came: the lease goes on from then
DRAIN: Final = 51  # nothing: take no new work
AVAILABLE: Final = (
    53  # [[node number, version, available, queued], ...]: nodes of which only that has changed
)
JOBS: Final = (
    57  # [[job, units in use elsewhere, [units that wait at the head, ...], {job}], ...], [ended job, ...]
)
QUOTA_GIVE: Final = 54  # job, units, whether to use them at once (else what they are for comes next)
QUOTA_TIGHT: Final = 55  # job, whether another node lacks some of its quota: give back what is not used
SCALING: Final = 58  # packed: what an autoscaler could launch, see shoal.machines.scaling
MAKE_ROOM: Final = 56  # job, units: a demand of its waits for long; end tasks of lower priority for it
END: Final = 52  # reason: end what runs here; this node is not part of the cluster (any more)


class ForAll(list[Any]):
    """A message to several nodes: whoever encodes it first leaves the result for the others."""

    __slots__ = ("encoded",)

    encoded: Any
