"""GroupBook: asked for, reserved on all nodes or none, healed, removed; names unique; what is kept is bounded."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from shoal.ids import PlacementGroupID
from shoal.machines import groups
from shoal.machines.groups import GroupBook
from shoal.spec.resources import ResourceSet
from shoal.spec.view import BundleSpec, GroupSpec

NODES = {number: f"node000{number}".encode() for number in (1, 2, 3)}


def spec(name: str = "", lifetime: str | None = None, namespace: str = "ns", bundles: int = 1) -> GroupSpec:
    return GroupSpec(
        group_id=PlacementGroupID.from_random(),
        bundles=tuple(BundleSpec(index=i, resources=ResourceSet.of(CPU=1)) for i in range(bundles)),
        name=name,
        namespace=namespace,
        lifetime=lifetime,
    )


class Groups(RuleBasedStateMachine):
    """The model: which node holds which bundles, as the nodes themselves would know it."""

    made = Bundle("made")

    @initialize()
    def start(self) -> None:
        self.book = GroupBook()
        self.model: dict[bytes, tuple[GroupSpec, bytes, bool]] = {}  # group → (spec, creator, removed)
        self.held: dict[tuple[int, bytes], dict[int, set[int]]] = {}  # (node, group) → attempt → bundles
        self.asked: list[tuple[int, bytes, int, set[int]]] = []  # questions to nodes under way

    def names(self) -> set[tuple[str, str]]:
        return {(s.namespace, s.name) for s, _, removed in self.model.values() if s.name and not removed}

    def release(self, number: int, group_id: bytes, attempt: int) -> None:
        held = self.held.get((number, group_id), {})
        if attempt:
            held.pop(attempt, None)
        else:
            held.clear()

    @rule(
        target=made,
        name=st.sampled_from(["", "", "a", "b"]),
        namespace=st.sampled_from(["x", "y"]),
        lifetime=st.sampled_from([None, "detached"]),
        creator=st.sampled_from([b"one", b"two"]),
        bundles=st.integers(1, 3),
    )
    def create(self, name: str, namespace: str, lifetime: str | None, creator: bytes, bundles: int) -> bytes:
        one = spec(name, lifetime, namespace, bundles)
        taken = (namespace, name) in self.names()
        assert self.book.create(one, creator) is not taken
        if taken:
            assert self.book.find(one.group_id) is None, "a refused group leaves no trace"
        else:
            self.model[one.group_id] = (one, creator, False)
        return one.group_id

    @rule(number=st.integers(0, 5), nodes=st.lists(st.sampled_from([1, 2, 3]), min_size=3, max_size=3))
    def propose(self, number: int, nodes: list[int]) -> None:
        pending = self.book.pending()
        if number >= len(pending):
            return
        record = pending[number]
        chosen = dict(zip(self.book.missing(record), nodes, strict=False))
        group_id = bytes(record.spec.group_id)
        attempt = self.book.propose(
            group_id, {index: NODES[node] for index, node in chosen.items()}, frozenset(chosen.values())
        )
        for node in sorted(set(chosen.values())):
            self.asked.append((node, group_id, attempt, {i for i, n in chosen.items() if n == node}))

    @rule(number=st.integers(0, 8), refuses=st.booleans())
    def answer(self, number: int, refuses: bool) -> None:
        if number >= len(self.asked):
            return
        node, group_id, attempt, bundles = self.asked.pop(number)
        if not refuses:
            self.held.setdefault((node, group_id), {})[attempt] = bundles
        outcome = self.book.answered(group_id, attempt, node, "no room" if refuses else "")
        if outcome == "stale":
            self.release(node, group_id, attempt)
        elif outcome == "failed":
            assert refuses
            for other in self.book.take_back(group_id):
                self.release(other, group_id, attempt)

    @rule(node=st.sampled_from([1, 2, 3]))
    def node_dies(self, node: int) -> None:
        """It is replaced by an empty one of the same name, to keep the model small."""
        self.asked = [question for question in self.asked if question[0] != node]
        for key in [key for key in self.held if key[0] == node]:
            del self.held[key]
        whole = {key for key, record in self.living().items() if record.state == "CREATED"}
        broken = self.book.node_lost(NODES[node], node)
        assert {bytes(key) for key in broken} <= whole
        for record in self.book.pending():
            group_id = bytes(record.spec.group_id)
            for other in self.book.take_back(group_id):
                self.release(other, group_id, record.attempt)

    def living(self) -> dict[bytes, groups.GroupRecord]:
        return {bytes(record.spec.group_id): record for record in self.book.living()}

    @rule(group_id=made)
    def remove(self, group_id: bytes) -> None:
        before = self.book.remove(group_id)
        known = self.model.get(group_id)
        if known is None or known[2]:
            assert before is None
            return
        assert before is not None
        assert before.state != "REMOVED", "what it was before tells whether there is something to release"
        self.model[group_id] = (known[0], known[1], True)
        for node in NODES:
            self.release(node, group_id, 0)

    @rule(creator=st.sampled_from([b"one", b"two"]))
    def creator_gone(self, creator: bytes) -> None:
        mine = self.book.of_creator(creator)
        expected = [
            key
            for key, (one, made_by, removed) in self.model.items()
            if made_by == creator and not removed and one.lifetime != "detached"
        ]
        assert mine == expected
        for group_id in mine:
            self.remove(group_id)

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.book.validate()
        living = self.living()
        assert set(living) == {bytes(key) for key, (_, _, removed) in self.model.items() if not removed}
        order = [bytes(record.spec.group_id) for record in self.book.pending()]
        assert order == [bytes(key) for key in self.model if bytes(key) in order], "oldest first"

    @invariant()
    def nodes_hold_what_the_book_says(self) -> None:
        held: dict[tuple[bytes, int], bytes] = {}
        for (node, group_id), attempts in self.held.items():
            for bundles in attempts.values():
                for index in bundles:
                    assert (group_id, index) not in held, "a bundle is reserved twice"
                    held[group_id, index] = NODES[node]
        for group_id, record in self.living().items():
            for index, node_id in enumerate(record.nodes):
                assert not node_id or held.get((group_id, index)) == node_id
        under_way = {group_id for _, group_id, _, _ in self.asked}
        for (group_id, index), node_id in held.items():
            here = self.living().get(group_id)
            assert here is not None, "a removed group holds something"
            settled = bool(here.nodes) and here.nodes[index] == node_id
            assert settled or here.state == "RESERVING" or group_id in under_way, "a bundle was leaked"


TestGroups = Groups.TestCase


def test_removed_groups_are_forgotten_one_by_one() -> None:
    book = GroupBook()
    specs = [spec() for _ in range(groups._REMOVED_KEPT + 3)]
    for one in specs:
        book.create(one, b"creator")
    for one in specs:
        book.remove(one.group_id)
    assert len(book.table()) == groups._REMOVED_KEPT
    assert book.find(specs[2].group_id) is None
    assert book.find(specs[3].group_id) is not None
    book.validate()


def test_a_group_that_was_removed_meanwhile_is_not_created() -> None:
    book = GroupBook()
    one = spec("name")
    book.create(one, b"creator")
    attempt = book.propose(one.group_id, {0: NODES[1]}, frozenset({1}))
    book.remove(one.group_id)
    assert book.answered(one.group_id, attempt, 1, "") == "stale"
    found = book.find(one.group_id)
    assert found is not None
    assert found.state == "REMOVED"
    assert book.answered(b"never heard of it", 1, 1, "") == "stale"


def test_only_the_bundles_of_a_dead_node_are_placed_anew() -> None:
    book = GroupBook()
    one = spec(bundles=2)
    book.create(one, b"creator")
    attempt = book.propose(one.group_id, {0: NODES[1], 1: NODES[2]}, frozenset({1, 2}))
    assert book.answered(one.group_id, attempt, 1, "") == "waiting"
    assert book.answered(one.group_id, attempt, 2, "") == "created"
    assert book.node_lost(NODES[2], 2) == [one.group_id]
    (record,) = book.pending()
    assert book.missing(record) == [1]
    attempt = book.propose(one.group_id, {1: NODES[3]}, frozenset({3}))
    assert book.answered(one.group_id, attempt, 3, "") == "created"
    assert record.nodes == (NODES[1], NODES[3])
