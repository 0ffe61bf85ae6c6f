"""Steps as columns: of one policy, and of several."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optree

from shoal.errors import ConfigError
from shoal.rllib.core.columns import DEFAULT_MODULE_ID, Columns
from shoal.rllib.env.structures import objects, unbatch
from shoal.rllib.policy.columns import Packed, copied, cut, joined, padded, picked, taken

DEFAULT_POLICY_ID = DEFAULT_MODULE_ID


class SampleBatch(dict[str, Any]):
    """Columns of equal length, a row a step; columns may be nested. Arrays or tensors.

    `seq_lens`, if it is there, says how long the stretches are that rows come in, for modules with a state; then
    columns `state_in_…` have a row a stretch.

    Parameters: as those of `dict`; `_time_major`, `_zero_padded` and `_max_seq_len` tell what rows are.

    Example: `SampleBatch({"obs": np.zeros((4, 2)), "rewards": np.ones(4)}).slice(0, 2)`
    """

    OBS = Columns.OBS
    ACTIONS = Columns.ACTIONS
    REWARDS = Columns.REWARDS
    TERMINATEDS = Columns.TERMINATEDS
    TRUNCATEDS = Columns.TRUNCATEDS
    INFOS = Columns.INFOS
    EPS_ID = Columns.EPS_ID
    NEXT_OBS = Columns.NEXT_OBS
    T = Columns.T
    SEQ_LENS = Columns.SEQ_LENS
    ACTION_DIST_INPUTS = Columns.ACTION_DIST_INPUTS
    ACTION_PROB = Columns.ACTION_PROB
    ACTION_LOGP = Columns.ACTION_LOGP
    VF_PREDS = Columns.VF_PREDS
    VALUES_BOOTSTRAPPED = Columns.VALUES_BOOTSTRAPPED
    RETURNS_TO_GO = Columns.RETURNS_TO_GO
    DONES = "dones"
    CUR_OBS = "obs"
    ENV_ID = "env_id"
    AGENT_INDEX = "agent_index"
    UNROLL_ID = "unroll_id"
    ACTION_DIST = "action_dist"
    OBS_EMBEDS = "obs_embeds"
    PREV_ACTIONS = "prev_actions"
    PREV_REWARDS = "prev_rewards"
    ATTENTION_MASKS = "attention_masks"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.time_major = bool(kwargs.pop("_time_major", False))
        self.zero_padded = bool(kwargs.pop("_zero_padded", False))
        self.max_seq_len = kwargs.pop("_max_seq_len", None)
        self._training = kwargs.pop("_is_training", None)
        self._by_unroll = True
        self._intercept: Callable[[Any], Any] | None = None
        self._intercepted: dict[str, Any] = {}
        super().__init__(*args, **kwargs)
        for name, value in list(self.items()):
            if isinstance(value, list) and name != Columns.INFOS:
                super().__setitem__(name, np.asarray(value))
        if (
            self.max_seq_len is None
            and self.get(Columns.SEQ_LENS) is not None
            and len(self[Columns.SEQ_LENS])
        ):
            self.max_seq_len = int(max(self[Columns.SEQ_LENS]))
        self._check()

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self)

    def __len__(self) -> int:
        for name, value in super().items():
            if name == Columns.SEQ_LENS or name.startswith("state_"):
                continue
            leaves = optree.tree_leaves(value)
            if leaves and hasattr(leaves[0], "__len__"):
                return int(leaves[0].shape[0] * leaves[0].shape[1]) if self.time_major else len(leaves[0])
        lengths = super().get(Columns.SEQ_LENS)
        return 0 if lengths is None else int(sum(lengths))

    def agent_steps(self) -> int:
        """Return how many steps there are."""
        return len(self)

    def env_steps(self) -> int:
        """Return how many steps there are."""
        return len(self)

    @property
    def is_training(self) -> bool:
        """Whether the batch is to learn from."""
        return bool(self._training)

    def set_training(self, training: bool | None = True) -> None:
        """Say whether the batch is to learn from."""
        self._training = training

    def is_single_trajectory(self) -> bool:
        """Return whether all rows are of one episode, which ends with the last of them if it ends."""
        ends = self._ends()
        episodes = self.get(Columns.EPS_ID)
        same = episodes is None or len(set(np.asarray(episodes).tolist())) <= 1
        return same and not bool(np.any(ends[:-1]))

    def is_terminated_or_truncated(self) -> bool:
        """Return whether an episode ends with the last row."""
        ends = self._ends()
        return bool(ends[-1]) if len(ends) else False

    def copy(self, shallow: bool = False) -> SampleBatch:
        """Return the batch with columns of its own; with `shallow` the arrays are the same."""
        made = {
            name: optree.tree_map(lambda leaf: leaf if shallow else copied(leaf), value)
            if name != Columns.INFOS
            else value
            for name, value in super().items()
        }
        return self._like(made)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row, a value a column."""
        columns = {name: value for name, value in super().items() if name != Columns.SEQ_LENS}
        for number in range(len(self)):
            yield {name: taken(value, number) for name, value in columns.items()}

    def columns(self, keys: Sequence[str]) -> list[Any]:
        """Return some of the columns."""
        return [self[name] for name in keys]

    def shuffle(self) -> SampleBatch:
        """Put the rows in another order, all columns alike; return the batch.

        Raises ValueError for a batch of stretches, whose steps belong together.
        """
        if self.get(Columns.SEQ_LENS) is not None:
            raise ValueError(
                "the rows of stretches belong together: leave seq_lens out, or shuffle stretches"
            )
        order = np.random.permutation(len(self))
        for name, value in list(super().items()):
            super().__setitem__(name, optree.tree_map(lambda leaf: picked(leaf, order), value))
        self._intercepted = {}
        return self

    def concat(self, other: SampleBatch) -> SampleBatch:
        """Return these rows with another batch's behind them."""
        whole: SampleBatch = concat_samples([self, other])
        return whole

    @staticmethod
    def concat_samples(samples: Sequence[Any]) -> Any:
        """Return the rows of batches one behind the other."""
        return concat_samples(samples)

    def slice(
        self, start: int, end: int, state_start: int | None = None, state_end: int | None = None
    ) -> SampleBatch:
        """Return the rows from `start` to `end`; of stretches those of the states from `state_start` to `state_end`."""
        lengths = super().get(Columns.SEQ_LENS)
        made: dict[str, Any] = {}
        for name, value in super().items():
            if name == Columns.SEQ_LENS:
                continue
            if name.startswith("state_") and state_start is not None:
                made[name] = optree.tree_map(lambda leaf: leaf[state_start:state_end], value)
            else:
                made[name] = optree.tree_map(lambda leaf: leaf[start:end], value)
        if lengths is not None and len(lengths):
            made[Columns.SEQ_LENS] = (
                lengths[state_start:state_end] if state_start is not None else cut(lengths, start, end)
            )
        return self._like(made)

    def split_by_episode(self, key: str | None = None) -> list[SampleBatch]:
        """Return a batch for each episode: told apart by `key`, else by "eps_id", else by the rows that end one.

        Raises KeyError if there is no such column.
        """
        by = key or (Columns.EPS_ID if Columns.EPS_ID in self else None)
        if by is not None:
            if by not in self:
                raise KeyError(f"there is no column {by!r}; there are {', '.join(self)}")
            names = np.asarray(self[by])
            ends = [*(np.flatnonzero(names[1:] != names[:-1]) + 1), len(self)]
        else:
            if Columns.TERMINATEDS not in self and self.DONES not in self:
                raise KeyError(
                    f"there is neither {Columns.EPS_ID!r} nor {Columns.TERMINATEDS!r} to tell episodes apart"
                )
            ends = [*(np.flatnonzero(self._ends()) + 1)]
            if not ends or ends[-1] != len(self):
                ends.append(len(self))
        starts = [0, *ends[:-1]]
        return [
            self.slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True) if end > start
        ]

    def timeslices(
        self, size: int | None = None, num_slices: int | None = None, k: int | None = None
    ) -> list[SampleBatch]:
        """Return batches of `size` rows (or `k`, the same), or `num_slices` of about equal size; give one of them."""
        size = size if size is not None else k
        if (size is None) == (num_slices is None):
            raise ValueError("give either size or num_slices")
        if size is None:
            bounds = np.linspace(0, len(self), int(num_slices or 1) + 1).astype(int)
            return [self.slice(int(a), int(b)) for a, b in itertools.pairwise(bounds)]
        return [self.slice(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def zero_pad(self, max_seq_len: int, exclude_states: bool = True) -> SampleBatch:
        """Pad each stretch with zeros to one length; return the batch. States only if they are not excluded."""
        return self._pad(max_seq_len, exclude_states)

    def right_zero_pad(self, max_seq_len: int, exclude_states: bool = True) -> SampleBatch:
        """Do as `zero_pad`: zeros are behind the stretches."""
        return self._pad(max_seq_len, exclude_states)

    def to_device(
        self,
        device: Any,
        framework: str = "torch",
        pin_memory: bool = False,
        use_stream: bool = False,
        stream: Any = None,
    ) -> SampleBatch:
        """Make tensors of all columns of numbers, on a device; return the batch. Raises ConfigError but for torch."""
        if framework != "torch":
            raise ConfigError(f'framework must be "torch", not {framework!r}')
        from shoal.rllib.tensors.torch_tensors import convert_to_torch_tensor

        for name, value in list(super().items()):
            if name != Columns.INFOS:
                super().__setitem__(
                    name, convert_to_torch_tensor(value, device, pin_memory, use_stream, stream)
                )
        return self

    def size_bytes(self) -> int:
        """Return how many bytes the columns take."""
        columns: Any = dict(self)
        return sum(int(leaf.nbytes) for leaf in optree.tree_leaves(columns) if hasattr(leaf, "nbytes"))

    def compress(
        self, bulk: bool = False, columns: Any = frozenset((Columns.OBS, Columns.NEXT_OBS))
    ) -> SampleBatch:
        """Compress columns, as a whole if `bulk` says so or row by row; return the batch."""
        for name in columns:
            if name in self:
                value = self[name]
                packed: Any = Packed(value) if bulk else objects([Packed(each) for each in unbatch(value)])
                super().__setitem__(name, packed)
        return self

    def decompress_if_needed(self, columns: Any = frozenset((Columns.OBS, Columns.NEXT_OBS))) -> SampleBatch:
        """Take columns out that `compress` has compressed; return the batch."""
        for name in columns:
            value = super().get(name)
            if isinstance(value, Packed):
                super().__setitem__(name, value.unpacked())
            elif isinstance(value, np.ndarray) and value.dtype == object and isinstance(value[0], Packed):
                rows = [each.unpacked() for each in value]
                super().__setitem__(name, optree.tree_map(lambda *leaves: np.stack(leaves), *rows))
        return self

    def as_multi_agent(self, module_id: str | None = None) -> MultiAgentBatch:
        """Return a batch of several policies with this one's rows only."""
        return MultiAgentBatch({module_id or DEFAULT_MODULE_ID: self}, len(self))

    def get_single_step_input_dict(self, view_requirements: Any, index: str | int = "last") -> SampleBatch:
        """Return one row as a batch: the step `index`, or what is acted on behind the last one ("last").

        `view_requirements` are the columns that are wanted, by name, from where it has `data_col`.
        """
        made: dict[str, Any] = {}
        for name, wanted in view_requirements.items():
            source = getattr(wanted, "data_col", None) or name
            if index == "last" and source == Columns.OBS and Columns.NEXT_OBS in self:
                source = Columns.NEXT_OBS
            elif index == "last" and name in (self.PREV_ACTIONS, self.PREV_REWARDS):
                source = Columns.ACTIONS if name == self.PREV_ACTIONS else Columns.REWARDS
            if source in self:
                row = -1 if index == "last" else int(index)
                made[name] = optree.tree_map(lambda leaf, at=row: leaf[at : at + 1 or None], self[source])
        return SampleBatch(made)

    def set_get_interceptor(self, fn: Callable[[Any], Any] | None) -> None:
        """Let columns go through a function when they are read, once each; None: as they are."""
        if fn is not self._intercept:
            self._intercept, self._intercepted = fn, {}

    def disable_slicing_by_batch_id(self) -> None:
        """Let slices count rows, also where stretches are known."""
        self._by_unroll = False

    def enable_slicing_by_batch_id(self) -> None:
        """Let slices count stretches where they are known: `batch[0:2]` are the first two."""
        self._by_unroll = True

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a column, or `default`."""
        return self[key] if key in self else default  # noqa: SIM401  # through the interceptor

    def __getitem__(self, key: Any) -> Any:
        """Return a column by name, or the rows of a slice as a batch."""
        if isinstance(key, slice):
            lengths: Any = super().get(Columns.SEQ_LENS)
            by_stretch = self._by_unroll and lengths is not None and len(lengths) > 0
            start, stop, step = key.indices(len(lengths) if by_stretch else len(self))
            if step != 1:
                raise ValueError("rows are sliced one by one: no step")
            if not by_stretch:
                return self.slice(start, stop)
            each = self.max_seq_len if self.zero_padded else None
            bounds = np.concatenate([[0], np.cumsum(lengths if each is None else [each] * len(lengths))])
            return self.slice(int(bounds[start]), int(bounds[max(start, stop)]), start, stop)
        if self._intercept is None or key == Columns.SEQ_LENS:
            return super().__getitem__(key)
        if key not in self._intercepted:
            self._intercepted[key] = self._intercept(super().__getitem__(key))
        return self._intercepted[key]

    def __setitem__(self, key: str, item: Any) -> None:
        super().__setitem__(key, item)
        self._intercepted.pop(key, None)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._intercepted.pop(key, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (dict(self), self.time_major, self.zero_padded, self.max_seq_len)

    def __repr__(self) -> str:
        return f"SampleBatch({len(self)} rows: {', '.join(self)})"

    def _like(self, columns: Mapping[str, Any]) -> SampleBatch:
        return SampleBatch(
            columns,
            _time_major=self.time_major,
            _zero_padded=self.zero_padded,
            _max_seq_len=self.max_seq_len,
            _is_training=self._training,
        )

    def _ends(self) -> Any:
        ends = np.zeros(len(self), dtype=bool)
        for name in (Columns.TERMINATEDS, Columns.TRUNCATEDS, self.DONES):
            if name in self:
                ends |= np.asarray(self[name]).astype(bool)
        return ends

    def _pad(self, size: int, without_states: bool) -> SampleBatch:
        lengths = super().get(Columns.SEQ_LENS)
        if lengths is None:
            raise ValueError("seq_lens must tell how long the stretches are")
        for name, value in list(super().items()):
            if name == Columns.SEQ_LENS or (without_states and name.startswith("state_")):
                continue
            super().__setitem__(name, optree.tree_map(lambda leaf: padded(leaf, lengths, size), value))
        self.zero_padded, self.max_seq_len = True, size
        return self

    def _check(self) -> None:
        if super().get(Columns.SEQ_LENS) is not None or self.time_major:
            return
        lengths = {
            name: len(leaves[0])
            for name, value in super().items()
            if not name.startswith("state_")
            and (leaves := optree.tree_leaves(value))
            and hasattr(leaves[0], "__len__")
            and name != Columns.INFOS
        }
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise ValueError(f"columns must have equally many rows, not {told}")


class MultiAgentBatch:
    """Batches of several policies, played in the same `env_steps` steps of environments.

    Example: `MultiAgentBatch({"a": SampleBatch({"obs": np.zeros((4, 2))})}, env_steps=4)["a"]`
    """

    def __init__(self, policy_batches: Mapping[str, SampleBatch], env_steps: int) -> None:
        self.policy_batches = dict(policy_batches)
        self.count = env_steps

    def env_steps(self) -> int:
        """Return how many steps environments made."""
        return self.count

    def agent_steps(self) -> int:
        """Return how many steps agents made, all together."""
        return sum(len(each) for each in self.policy_batches.values())

    def timeslices(self, k: int) -> list[MultiAgentBatch]:
        """Return batches of `k` steps of environments: told apart by "eps_id" and "t", else by rows' places."""
        places: dict[Any, int] = {}
        parts: dict[int, dict[str, list[int]]] = {}
        for name, batch in self.policy_batches.items():
            for row in range(len(batch)):
                at = (
                    (batch[Columns.EPS_ID][row], batch[Columns.T][row])
                    if Columns.EPS_ID in batch and Columns.T in batch
                    else row
                )
                number = places.setdefault(at, len(places)) // k
                parts.setdefault(number, {}).setdefault(name, []).append(row)
        made = []
        for number in sorted(parts):
            batches = {}
            for name, rows in parts[number].items():
                columns: Any = dict(self.policy_batches[name])
                batches[name] = SampleBatch(optree.tree_map(lambda leaf, r=rows: leaf[r], columns))
            made.append(MultiAgentBatch(batches, min(k, len(places) - number * k)))
        return made

    @staticmethod
    def wrap_as_needed(policy_batches: Mapping[str, SampleBatch], env_steps: int) -> Any:
        """Return the only batch of the only policy, if it is the default one, or all of them."""
        if set(policy_batches) == {DEFAULT_MODULE_ID}:
            return policy_batches[DEFAULT_MODULE_ID]
        return MultiAgentBatch(policy_batches, env_steps)

    @staticmethod
    def concat_samples(samples: Sequence[Any]) -> Any:
        """Return the rows of batches one behind the other, by policy."""
        return concat_samples_into_ma_batch(samples)

    def copy(self) -> MultiAgentBatch:
        """Return it with columns of its own."""
        return MultiAgentBatch({name: each.copy() for name, each in self.policy_batches.items()}, self.count)

    def size_bytes(self) -> int:
        """Return how many bytes the columns take."""
        return sum(each.size_bytes() for each in self.policy_batches.values())

    def compress(self, bulk: bool = False, columns: Any = frozenset((Columns.OBS, Columns.NEXT_OBS))) -> None:
        """Compress columns of all policies."""
        for each in self.policy_batches.values():
            each.compress(bulk, columns)

    def decompress_if_needed(
        self, columns: Any = frozenset((Columns.OBS, Columns.NEXT_OBS))
    ) -> MultiAgentBatch:
        """Take columns out that `compress` has compressed; return the batch."""
        for each in self.policy_batches.values():
            each.decompress_if_needed(columns)
        return self

    def as_multi_agent(self) -> MultiAgentBatch:
        """Return it itself."""
        return self

    def to_device(
        self,
        device: Any,
        framework: str = "torch",
        pin_memory: bool = False,
        use_stream: bool = False,
        stream: Any = None,
    ) -> MultiAgentBatch:
        """Make tensors of all policies' columns; return the batch."""
        for each in self.policy_batches.values():
            each.to_device(device, framework, pin_memory, use_stream, stream)
        return self

    def __getitem__(self, key: str) -> SampleBatch:
        return self.policy_batches[key]

    def __len__(self) -> int:
        return len(self.policy_batches)

    def __repr__(self) -> str:
        return f"MultiAgentBatch({self.policy_batches}, env_steps={self.count})"


def concat_samples(samples: Sequence[Any]) -> Any:
    """Return the rows of batches one behind the other; those of several policies by policy.

    Raises ValueError for batches with different columns.

    Example: `concat_samples([SampleBatch({"obs": [1]}), SampleBatch({"obs": [2]})])["obs"]`
    """
    if any(isinstance(each, MultiAgentBatch) for each in samples):
        return concat_samples_into_ma_batch(samples)
    filled = [each for each in samples if len(each)]
    if not filled:
        return SampleBatch()
    names = set(filled[0])
    for each in filled[1:]:
        if set(each) != names:
            raise ValueError(f"batches have different columns: {', '.join(sorted(names ^ set(each)))}")
    first = filled[0]
    made = {name: joined([each[name] for each in filled]) for name in first}
    return SampleBatch(
        made, _time_major=first.time_major, _zero_padded=first.zero_padded, _max_seq_len=first.max_seq_len
    )


def concat_samples_into_ma_batch(samples: Sequence[Any]) -> MultiAgentBatch:
    """Return the rows of batches one behind the other, by policy; those of one policy are the default one's.

    Example: `concat_samples_into_ma_batch([SampleBatch({"obs": [1]})])["default_policy"]`
    """
    parts: dict[str, list[SampleBatch]] = {}
    steps = 0
    for each in samples:
        several = each.as_multi_agent()
        steps += several.env_steps()
        for name, batch in several.policy_batches.items():
            parts.setdefault(name, []).append(batch)
    return MultiAgentBatch({name: concat_samples(every) for name, every in parts.items()}, steps)


def convert_ma_batch_to_sample_batch(batch: Any) -> SampleBatch:
    """Return the only policy's batch of a batch of several. Raises ValueError if there is more than one.

    Example: `convert_ma_batch_to_sample_batch(batch.as_multi_agent())`
    """
    if isinstance(batch, MultiAgentBatch):
        if len(batch.policy_batches) != 1:
            raise ValueError(f"there are {len(batch.policy_batches)} policies, not one")
        batch = next(iter(batch.policy_batches.values()))
    found: SampleBatch = batch
    return found


def attempt_count_timesteps(tensor_dict: Mapping[str, Any]) -> int:
    """Return how many rows columns have: what `seq_lens` add up to, or those of the first column with a length.

    Example: `attempt_count_timesteps({"obs": np.zeros((4, 2))})  # 4`
    """
    lengths = tensor_dict.get(Columns.SEQ_LENS)
    if lengths is not None and len(lengths):
        return int(sum(lengths))
    for name, value in tensor_dict.items():
        if name.startswith("state_"):
            continue
        for leaf in optree.tree_leaves(value):
            if hasattr(leaf, "__len__"):
                return len(leaf)
    return 0


def _restored(columns: dict[str, Any], time_major: bool, zeros: bool, size: int | None) -> SampleBatch:
    return SampleBatch(columns, _time_major=time_major, _zero_padded=zeros, _max_seq_len=size)
