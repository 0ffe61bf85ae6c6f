"""Verbs that feed training loops: batches of tensors, and datasets of torch and TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shoal.data.checks import need
from shoal.data.collate_fn import CollateFn
from shoal.data.tensors import chosen, moved, tf_spec, to_jax_arrays, to_tensors, to_tf_tensors
from shoal.data.verbs.iterating import Iterating


class Feeding(Iterating):
    """Batches of tensors of whatever gives blocks."""

    def iter_torch_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        device: str = "auto",
        collate_fn: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        pin_memory: bool = False,
    ) -> Iterator[Any]:
        """Yield batches as dicts of torch tensors, or what `collate_fn` makes of each batch.

        Parameters: `dtypes` is a torch type for all columns, or a mapping of columns to types; `device` is where
        tensors go ("auto": cuda if there is one), with `pin_memory` through pinned memory. `collate_fn` is a function
        of a dict of arrays, whose tensors stay where it put them, or a `CollateFn`, whose tensors are moved to the
        device. The others are those of `iter_batches`. Needs torch. Raises ValueError for `dtypes` with a `collate_fn`.

        Example: `for batch in ds.iter_torch_batches(batch_size=32): model(batch["x"])`
        """
        if collate_fn is not None and dtypes is not None:
            raise ValueError("give dtypes or a collate_fn, not both: a collate_fn makes the tensors itself")
        batches = self.iter_batches(
            prefetch_batches=prefetch_batches,
            batch_size=batch_size,
            batch_format=collate_fn.batch_format if isinstance(collate_fn, CollateFn) else "numpy",
            drop_last=drop_last,
            local_shuffle_buffer_size=local_shuffle_buffer_size,
            local_shuffle_seed=local_shuffle_seed,
        )
        if collate_fn is None:
            return (to_tensors(batch, dtypes, device, pin_memory) for batch in batches)
        if isinstance(collate_fn, CollateFn) or pin_memory:
            return (moved(collate_fn(batch), device, pin_memory) for batch in batches)
        return map(collate_fn, batches)

    def iter_tf_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterator[Any]:
        """Yield batches as dicts of TensorFlow's tensors. Needs tensorflow.

        `dtypes` is a type for all columns, or a mapping of columns to types; the others are those of `iter_batches`.

        Example: `for batch in ds.iter_tf_batches(batch_size=32): model(batch["x"])`
        """
        need("tensorflow", "iter_tf_batches")
        batches = self.iter_batches(
            prefetch_batches=prefetch_batches,
            batch_size=batch_size,
            drop_last=drop_last,
            local_shuffle_buffer_size=local_shuffle_buffer_size,
            local_shuffle_seed=local_shuffle_seed,
        )
        return (to_tf_tensors(batch, dtypes) for batch in batches)

    def iter_jax_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        synchronize_batches: bool = False,
        paddings: Any = None,
    ) -> Iterator[Any]:
        """Yield batches as dicts of JAX's arrays, or what `collate_fn` makes of each dict of arrays. Needs jax.

        Parameters: `paddings`, a value or a mapping of columns to values, fills the last batch up to `batch_size` rows,
        so that a compiled step sees one shape. `synchronize_batches` waits until a batch is on its device. The others
        are those of `iter_torch_batches`.

        Example: `for batch in ds.iter_jax_batches(batch_size=32, paddings=0): step(batch["x"])`
        """
        jax = need("jax", "iter_jax_batches")
        if collate_fn is not None and (dtypes is not None or paddings is not None):
            raise ValueError("give dtypes and paddings, or a collate_fn, not both")
        batches = self.iter_batches(
            prefetch_batches=prefetch_batches,
            batch_size=batch_size,
            drop_last=drop_last,
            local_shuffle_buffer_size=local_shuffle_buffer_size,
            local_shuffle_seed=local_shuffle_seed,
        )
        make = collate_fn or (lambda batch: to_jax_arrays(batch, dtypes, paddings, batch_size))
        made = map(make, batches)
        return (jax.block_until_ready(batch) for batch in made) if synchronize_batches else made

    def to_torch(
        self,
        *,
        label_column: str | None = None,
        feature_columns: Sequence[str] | Sequence[Sequence[str]] | Mapping[str, Sequence[str]] | None = None,
        label_column_dtype: Any = None,
        feature_column_dtypes: Any = None,
        batch_size: int = 1,
        prefetch_batches: int = 1,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        unsqueeze_label_tensor: bool = True,
        unsqueeze_feature_tensors: bool = True,
    ) -> Any:
        """Return a torch IterableDataset of batches (features, label), for loops that want one. Needs torch.

        Parameters: `feature_columns` are columns that become one tensor side by side (None: all but the label), or
        several lists of them, or a mapping of names to lists, each a tensor. The label is None without a
        `label_column`. `unsqueeze_…` give columns of single values a second dimension of length 1. `…_dtype` are torch
        types, for features in the form of `feature_columns`. The others are those of `iter_batches`.

        Example: `for features, label in ds.to_torch(label_column="y", batch_size=32): ...`
        """
        torch = need("torch", "to_torch")
        whole = self

        def tensor(batch: Mapping[str, Any], names: Sequence[str], dtype: Any, unsqueeze: bool) -> Any:
            parts = [chosen(name)(batch) for name in names]
            parts = [each.unsqueeze(1) if unsqueeze and each.ndim == 1 else each for each in parts]
            joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
            return joined if dtype is None else joined.to(dtype)

        def features(batch: Mapping[str, Any]) -> Any:
            names, kinds = feature_columns, feature_column_dtypes
            if names is None:
                names = [name for name in batch if name != label_column]
            if isinstance(names, Mapping):
                pick = kinds.get if isinstance(kinds, Mapping) else lambda name: kinds
                return {
                    key: tensor(batch, each, pick(key), unsqueeze_feature_tensors)
                    for key, each in names.items()
                }
            if names and not isinstance(names[0], str):
                of_each = kinds if isinstance(kinds, (list, tuple)) else [kinds] * len(names)
                pairs = zip(names, of_each, strict=True)
                return [tensor(batch, each, kind, unsqueeze_feature_tensors) for each, kind in pairs]
            kind = kinds[0] if isinstance(kinds, (list, tuple)) else kinds
            return tensor(batch, [str(name) for name in names], kind, unsqueeze_feature_tensors)

        base: Any = torch.utils.data.IterableDataset

        class Batches(base):  # type: ignore[misc]
            def __iter__(self) -> Iterator[Any]:
                for batch in whole.iter_torch_batches(
                    prefetch_batches=prefetch_batches,
                    batch_size=batch_size,
                    device="cpu",
                    drop_last=drop_last,
                    local_shuffle_buffer_size=local_shuffle_buffer_size,
                    local_shuffle_seed=local_shuffle_seed,
                ):
                    label = None
                    if label_column is not None:
                        label = tensor(batch, [label_column], label_column_dtype, unsqueeze_label_tensor)
                    yield features(batch), label

        return Batches()

    def to_tf(
        self,
        feature_columns: str | Sequence[str],
        label_columns: str | Sequence[str],
        *,
        additional_columns: str | Sequence[str] | None = None,
        prefetch_batches: int = 1,
        batch_size: int = 1,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        feature_type_spec: Any = None,
        label_type_spec: Any = None,
        additional_type_spec: Any = None,
    ) -> Any:
        """Return a tf.data.Dataset of batches (features, labels), or (features, labels, additional). Needs tensorflow.

        Parameters: one column is a tensor, a list of columns a dict of tensors. The specifications of types are found
        from the dataset's schema unless they are given. The others are those of `iter_batches`.
        Raises KeyError for a column that is not there.

        Example: `model.fit(ds.to_tf("image", "label", batch_size=32))`
        """
        tf = need("tensorflow", "to_tf")
        parts = [
            feature_columns,
            label_columns,
            *([] if additional_columns is None else [additional_columns]),
        ]
        specs = [feature_type_spec, label_type_spec, additional_type_spec]
        schema = self._schema()
        signature = tuple(tf_spec(part, schema, spec) for part, spec in zip(parts, specs, strict=False))
        pick = [chosen(part) for part in parts]

        def batches() -> Iterator[Any]:
            for batch in self.iter_tf_batches(
                prefetch_batches=prefetch_batches,
                batch_size=batch_size,
                drop_last=drop_last,
                local_shuffle_buffer_size=local_shuffle_buffer_size,
                local_shuffle_seed=local_shuffle_seed,
            ):
                yield tuple(part(batch) for part in pick)

        return tf.data.Dataset.from_generator(batches, output_signature=signature)
