"""Every message between processes of a session: a MessagePack array that begins with one of these numbers.

The comment behind each lists the fields that follow. Identifiers are bytes. `value` is [status, payload, contained]:
see the statuses below. A message of an unknown kind ends the connection.
"""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = 1  # grows when a message changes its meaning

# Any caller → worker
FUNCTION: Final = 1  # key, pickled function
LEASE_BEGIN: Final = 2  # lease, {resources, accelerators, variables, group, ...}
TASKS: Final = 3  # [[counter, function key, arguments, extra or nil], ...]
CANCEL: Final = 4  # counter, force, recursive
CALLS: Final = 5  # actor, [[counter, method, arguments, extra or nil], ...], as in ACKNOWLEDGED or nil
STREAM_READ: Final = 6  # counter, how many items the consumer has taken
LEASE_END: Final = 7  # lease
ACKNOWLEDGED: Final = 8  # actor, number: the caller has the answer of every call of a lower number

# Worker → caller
RESULTS: Final = 10  # [[counter, duration in µs, status, payload(, more)], ...]
HANDED_BACK: Final = 11  # [counter, ...]: tasks that were not started and will not be
STREAM_ITEM: Final = 12  # counter, index, value

# Anyone ↔ owner
FETCH: Final = 20  # [object, ...]: send each value when there is one
VALUES: Final = 21  # [[object, status, payload, contained], ...]
RELEASE: Final = 22  # [[object, how many borrows], ...]
ADD_BORROWER: Final = 23  # [[object, borrower], ...]
DELETE: Final = 24  # [object, ...]: their creator may recycle the store's bytes
LOST: Final = 25  # object: the store has lost it; the owner is to rebuild it
FREE: Final = 26  # [object, ...]: free() was called on them
CANCEL_OBJECT: Final = 27  # object, force, recursive: cancel the task that makes it
EXPLAIN_OBJECT: Final = 28  # request, object
EXPLAINED: Final = 29  # request, text lines
COPIED: Final = 31  # object, node: there is a copy of its bytes there now
EXPLAIN_BUSY: Final = (
    30  # request, [process, ...]: what does your current call wait for? The asking chain so far
)

# Client (driver or worker) → daemon
REGISTER: Final = 40  # {pid, kind}
DEMAND: Final = (
    41  # class key, how many more leases are wanted, depth, {class} or nil if known, {node: argument bytes}
)
RETURN: Final = 42  # [[lease, worker must end], ...]
BLOCKED: Final = 43  # nothing
UNBLOCKED: Final = 44  # nothing
SUBSCRIBE_ACTOR: Final = 46  # actor
KILL_ACTOR: Final = 47  # actor, no_restart
END_ACTOR: Final = 48  # actor: no handle is left
ACTOR_READY: Final = 49  # actor, incarnation
ACTOR_FAILED: Final = 50  # actor, incarnation, pickled error
REQUEST: Final = 51  # request, name, arguments: everything off the hot path
KILL_WORKER: Final = 52  # worker, task's name: cancel(force=True)
ACTOR_EXITING: Final = 53  # actor: exit_actor() was called

TALLY: Final = 146  # of this process's calls: finished, failed, running, waiting
DELETE_AT: Final = 54  # node, [object, ...]: bytes that lie there are needed no more

# Daemon → client
LEASE: Final = 71  # class key, lease, worker, {grant}
RECLAIM: Final = 72  # nothing: return the leases you do not use
WORKER_DIED: Final = 73  # worker, certificate, started counter
CLASS_STATE: Final = (
    74  # class key, "infeasible" | "feasible" | "failed" | "removed", text, certificate or nil
)
ACTOR_STATE: Final = 75  # actor, state, worker, incarnation, certificate or nil, error payload or nil
REPLY: Final = 76  # request, ok, value
START_ACTOR: Final = 77  # {specification}
LOG_LINES: Final = 78  # worker, pid, name, stream, lines
EXIT: Final = 79  # nothing: end this process now
RELIEVE: Final = 80  # bytes: make room in the store
GROUP_STATE: Final = 81  # group, state
WARNING: Final = 82  # text: the driver logs it
HOLDINGS: Final = 140  # number: answer by the request holdings_are with what you hold of objects
LOOK: Final = 143  # number: write your events; answer by the request calls_are with your unfinished calls
NODE_TABLE: Final = 83  # [[number, address, alive, why it is dead], ...] of the other nodes

# Daemon → daemon of another node
ASK_LEASE: Final = 90  # holder, class key, {class}, depth, waited for long: grant one lease now, or refuse
GRANTED: Final = 91  # holder, class key, lease, worker, {grant}
REFUSED: Final = 92  # holder, class key, what is free, reason
GIVE_BACK: Final = 93  # [[lease, worker must end], ...]
HOLDER_GONE: Final = 94  # holder
WORKER_GONE: Final = 95  # holder, lease, worker, certificate, started counter
RELAY: Final = 96  # client, message
ROOM: Final = 97  # nothing: something was freed here since this node was refused
DELETE_COPIES: Final = 99  # [object, ...]
ASK_HOLDINGS: Final = 141  # number: what do your processes hold of objects
HOLDINGS_ARE: Final = 142  # number, packed report
ASK_LOOK: Final = 144  # number: what have your node's processes told its event log
LOOK_IS: Final = 145  # number, packed report
ASK_ERRAND: Final = 147  # number, what, {facts}: look something up on your node
ERRAND_DONE: Final = 148  # number, done, packed answer, or kind and text of an error
CLASS_FAILED: Final = 98  # holder, class key, message for the holder: no worker can be had

# Statuses of a value
PLAIN: Final = 0  # payload: a pickle without buffers
PACKED: Final = 1  # payload: packed pickle and buffers
STORED: Final = 2  # payload: [size, creator]; the bytes are in the node's store
ERROR: Final = 3  # payload: a pickled error
MANY: Final = 4  # in RESULTS only; payload: [value, ...], one per result
