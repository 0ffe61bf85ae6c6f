"""Batch inference with torch in four steps, of which a program writes those that differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.data.checks import need
from shoal.data.collate_fn import is_tensor_batch_type
from shoal.data.tensors import moved, to_tensors


class TorchInference:
    """A class for `map_batches` with a pool of actors: subclass it, write `initialize` and `process_on_device`.

    Each batch goes through `collate` (arrays to tensors), to the device, through `process_on_device` without gradients,
    back to ordinary memory, and through `finalize`. What the class is made with goes to `initialize`.

    Example:
        class Classifier(TorchInference):
            def initialize(self, path): self.model = torch.load(path).to(self.get_device()).eval()
            def process_on_device(self, input_batch, collated_tensors, collated_other):
                return {"label": self.model(collated_tensors["image"]).argmax(1)}, {}
        ds.map_batches(Classifier, fn_constructor_args=("model.pt",), compute=ActorPoolStrategy(size=2))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._torch = need("torch", "TorchInference")
        self.initialize(*args, **kwargs)

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Load what is needed, once in each actor."""

    def get_device(self) -> Any:
        """Return the device that tensors go to: cuda if there is one."""
        return self._torch.device("cuda" if self._torch.cuda.is_available() else "cpu")

    def collate(self, input_batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the tensors of a batch, and what is no tensors: columns that are no numbers."""
        numbers = {name: array for name, array in input_batch.items() if array.dtype.kind in "biuf"}
        other = {name: array for name, array in input_batch.items() if name not in numbers}
        return to_tensors(numbers, None, "cpu"), other

    def process_on_device(
        self, input_batch: dict[str, Any], collated_tensors: dict[str, Any], collated_other: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return tensors, and what is no tensors, of a batch whose tensors are on the device."""
        raise NotImplementedError(f"{type(self).__name__} needs the method process_on_device")

    def finalize(
        self, input_batch: dict[str, Any], output_tensors: dict[str, Any], output_other: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the batch that comes out, of tensors in ordinary memory: the tensors and the rest side by side."""
        return {**{name: tensor.numpy() for name, tensor in output_tensors.items()}, **output_other}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take a batch through all steps. Raises TypeError if a step gives what the next one cannot take."""
        tensors, other = self._pair("collate", self.collate(batch))
        on_device = moved(tensors, str(self.get_device()))
        with self._torch.inference_mode():
            made = self.process_on_device(batch, on_device, other)
        out, out_other = self._pair("process_on_device", made)
        return self.finalize(batch, {name: each.detach().cpu() for name, each in out.items()}, out_other)

    @staticmethod
    def _pair(step: str, made: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        is_pair = (
            isinstance(made, tuple) and len(made) == 2 and all(isinstance(each, Mapping) for each in made)
        )
        if not is_pair or not is_tensor_batch_type(made[0]):
            raise TypeError(f"{step} must return a dict of tensors and a dict of the rest, not {made!r:.200}")
        return dict(made[0]), dict(made[1])
