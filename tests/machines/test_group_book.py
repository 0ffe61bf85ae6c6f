"""GroupBook: asked for, reserved, removed; names unique among the living; the removed ones bounded in number."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from shoal.ids import PlacementGroupID
from shoal.machines import groups
from shoal.machines.groups import GroupBook
from shoal.spec.resources import ResourceSet
from shoal.spec.view import BundleSpec, GroupSpec

NODE = b"node0000"


def spec(name: str = "", lifetime: str | None = None, namespace: str = "ns") -> GroupSpec:
    bundle = BundleSpec(index=0, resources=ResourceSet.of(CPU=1))
    return GroupSpec(
        group_id=PlacementGroupID.from_random(),
        bundles=(bundle,),
        name=name,
        namespace=namespace,
        lifetime=lifetime,
    )


class Groups(RuleBasedStateMachine):
    made = Bundle("made")

    @initialize()
    def start(self) -> None:
        self.book = GroupBook()
        self.model: dict[bytes, tuple[GroupSpec, bytes, str]] = {}

    def names(self) -> set[tuple[str, str]]:
        return {(s.namespace, s.name) for s, _, state in self.model.values() if s.name and state != "REMOVED"}

    @rule(
        target=made,
        name=st.sampled_from(["", "", "a", "b"]),
        namespace=st.sampled_from(["x", "y"]),
        lifetime=st.sampled_from([None, "detached"]),
        creator=st.sampled_from([b"one", b"two"]),
    )
    def create(self, name: str, namespace: str, lifetime: str | None, creator: bytes) -> bytes:
        one = spec(name, lifetime, namespace)
        taken = (namespace, name) in self.names()
        assert self.book.create(one, creator) is not taken
        if taken:
            assert self.book.find(one.group_id) is None, "a refused group leaves no trace"
        else:
            self.model[one.group_id] = (one, creator, "PENDING")
        return one.group_id

    @rule(number=st.integers(0, 5))
    def reserve(self, number: int) -> None:
        pending = self.book.pending()
        if number < len(pending):
            group_id = pending[number].spec.group_id
            self.book.created(group_id, (NODE,))
            one, creator, _ = self.model[group_id]
            self.model[group_id] = (one, creator, "CREATED")

    @rule(group_id=made)
    def remove(self, group_id: bytes) -> None:
        before = self.book.remove(group_id)
        known = self.model.get(group_id)
        if known is None or known[2] == "REMOVED":
            assert before is None
            return
        assert before is not None
        assert before.state == known[2], "what it was before tells whether there is something to release"
        self.model[group_id] = (known[0], known[1], "REMOVED")

    @rule(creator=st.sampled_from([b"one", b"two"]))
    def creator_gone(self, creator: bytes) -> None:
        mine = self.book.of_creator(creator)
        expected = [
            key
            for key, (one, made_by, state) in self.model.items()
            if made_by == creator and state != "REMOVED" and one.lifetime != "detached"
        ]
        assert mine == expected
        for group_id in mine:
            self.remove(group_id)

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.book.validate()
        pending = [key for key, (_, _, state) in self.model.items() if state == "PENDING"]
        assert [record.spec.group_id for record in self.book.pending()] == pending, "oldest first"
        states = {key.hex(): state for key, (_, _, state) in self.model.items()}
        assert {row["group_id"]: row["state"] for row in self.book.table()} == states


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
    book.remove(one.group_id)
    assert not book.created(one.group_id, (NODE,))
    found = book.find(one.group_id)
    assert found is not None
    assert found.state == "REMOVED"
    assert not book.created(b"never heard of it", (NODE,))
