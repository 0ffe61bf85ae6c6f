"""The contract of Accelerator, for whoever writes one.

class TestMine(AcceleratorContract):
    @pytest.fixture
    def accelerator(self):
        return MyAccelerator()
"""

from __future__ import annotations

from typing import Any

import pytest

from shoal.errors import ConfigError
from shoal.interfaces.accelerator import Accelerator, Device
from shoal.spec.resources import ResourceSet


class AcceleratorContract:
    """What every accelerator must do, on a machine with such devices and on one without."""

    @pytest.fixture
    def accelerator(self) -> Accelerator:
        """Return the accelerator under test."""
        raise NotImplementedError("return the accelerator")

    def test_it_says_what_it_is(self, accelerator: Accelerator) -> None:
        assert accelerator.name
        assert accelerator.resource

    def test_detection_finds_different_devices(self, accelerator: Accelerator) -> None:
        devices = list(accelerator.detect())
        assert all(isinstance(device, Device) for device in devices)
        identifiers = [device.id for device in devices]
        assert len(set(identifiers)) == len(identifiers)
        assert all(identifiers)
        assert [device.id for device in accelerator.detect()] == identifiers

    def test_a_machine_without_tools_has_no_error(
        self, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        accelerator.detect()

    def test_the_quantity_is_a_resource(self, accelerator: Accelerator) -> None:
        devices = accelerator.detect()
        quantity = accelerator.quantity(devices)
        assert (
            ResourceSet.of({accelerator.resource: quantity}).to_floats().get(accelerator.resource, 0)
            == quantity
        )
        assert accelerator.quantity([]) == 0
        assert (quantity > 0) == bool(devices)

    def test_whole_numbers_and_nothing_can_be_asked_for(self, accelerator: Accelerator) -> None:
        for quantity in (0, 1, 2, 1.0):
            accelerator.check(quantity)

    @pytest.mark.parametrize("quantity", [-1, -0.5, float("nan"), float("inf"), "1", None, True])
    def test_nonsense_cannot_be_asked_for(self, accelerator: Accelerator, quantity: Any) -> None:
        with pytest.raises(ConfigError):
            accelerator.check(quantity)

    def test_a_worker_sees_what_it_is_given(
        self, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The variables for some devices, once set, make a detection find no more than these."""
        identifiers = [device.id for device in accelerator.detect()]
        some = identifiers[:1]
        for chosen in (some, []):
            variables = accelerator.environment(chosen)
            assert all(isinstance(text, str) for pair in variables.items() for text in pair)
            assert variables == accelerator.environment(chosen)
        with monkeypatch.context() as patched:
            for name, text in accelerator.environment(some).items():
                patched.setenv(name, text)
            seen = [device.id for device in accelerator.detect()]
        assert seen in (some, identifiers)  # shares of a core are not places, so all cores may stay visible

    def test_labels_are_text(self, accelerator: Accelerator) -> None:
        assert accelerator.type_labels([]) == {}
        labels = accelerator.type_labels([Device(id="0", type="A"), Device(id="1", type="A")])
        assert all(text and text == str(text) for pair in labels.items() for text in pair)

    def test_transports_of_tensors_have_names_of_their_own(self, accelerator: Accelerator) -> None:
        transports = accelerator.tensor_transports()
        names = [name for transport in transports for name in (transport.name, *transport.also)]
        assert len(set(names)) == len(names)
        assert all(name and name == name.lower() for name in names)
        assert not {"object_store", "auto", "nixl"} & set(names)

    def test_only_tensors_are_kept(self, accelerator: Accelerator) -> None:
        for transport in accelerator.tensor_transports():
            for value in (None, 1, "text", b"bytes", [1.0], {"a": 1}, object()):
                assert not transport.keeps(value)

    def test_a_transport_that_cannot_be_used_here_says_so(self, accelerator: Accelerator) -> None:
        for transport in accelerator.tensor_transports():
            if transport.reaches():
                transport.check()
            else:
                with pytest.raises(ConfigError):
                    transport.check()
