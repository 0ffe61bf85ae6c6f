"""The contract of Engine, for whoever writes one, and our oracle: engines that pass it agree.

    class TestMine(EngineContract):
        @pytest.fixture
        def engine_name(self):
            return "mine"

    class TestMineSessions(EngineSessionContract):
        ...the same fixture

The tests of EngineContract share one session, those of EngineSessionContract begin and end their own. A test that
needs a capability which the engine does not declare is skipped with that reason.
"""

from __future__ import annotations

from shoal.testing.engine_actors import ActorPart, HandlePart
from shoal.testing.engine_durable import DurableActorPart
from shoal.testing.engine_errors import CancelPart, ErrorPart, RetryPart, StreamPart, TimeoutPart
from shoal.testing.engine_lives import ActorDeathPart, ConcurrentActorPart
from shoal.testing.engine_objects import ArrayPart, ObjectPart, ReferencePart, WaitPart
from shoal.testing.engine_places import ContextPart, NamedActorPart, PlacementGroupPart, ResourcePart
from shoal.testing.engine_sessions import EngineSessionContract
from shoal.testing.engine_tasks import DependencyPart, NestedTaskPart, ReturnPart, TaskPart

__all__ = ["EngineContract", "EngineSessionContract"]


class EngineContract(
    TaskPart,
    NestedTaskPart,
    DependencyPart,
    ReturnPart,
    ObjectPart,
    ArrayPart,
    ReferencePart,
    WaitPart,
    ActorPart,
    HandlePart,
    ActorDeathPart,
    ConcurrentActorPart,
    DurableActorPart,
    ErrorPart,
    RetryPart,
    CancelPart,
    StreamPart,
    TimeoutPart,
    NamedActorPart,
    ResourcePart,
    PlacementGroupPart,
    ContextPart,
):
    """Everything that a session of the engine must do. Override `engine_name`."""
