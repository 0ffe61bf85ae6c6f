"""A small GPT whose layers, heads, sequences and rows lie on several ranks learns what one process learns."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from shoal import train
from shoal.train import Checkpoint, RunConfig, ScalingConfig
from shoal.train.torch import TorchTrainer

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]

STEPS = 5
WORDS, WIDTH, HEADS, LENGTH, ROWS = 32, 16, 2, 8, 16

Make = Callable[..., RunConfig]


def gpt() -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
            self.out = nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            y = self.norm(x)
            parts = [
                each(y).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
                for each in (self.q, self.k, self.v)
            ]
            seen = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).flatten(2))
            return x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words: Any = nn.Embedding(WORDS, WIDTH)
            self.places = nn.Parameter(torch.randn(LENGTH, WIDTH) / 4)
            self.blocks: Any = nn.ModuleList([Block(), Block()])
            self.head: Any = nn.Linear(WIDTH, WORDS)

        def forward(self, x: Any, places: Any = None) -> Any:
            if self.words is not None:
                own = self.places if places is None else self.places[places]
                x = self.words(x) + own
            for block in self.blocks:
                x = block(x)
            return x if self.head is None else self.head(x)

    torch.manual_seed(0)
    return GPT()


def rows() -> tuple[Any, Any]:
    import torch

    torch.manual_seed(1)
    tokens = torch.randint(0, WORDS, (ROWS, LENGTH + 1))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def loss_of(said: Any, wanted: Any) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(said.flatten(0, 1), wanted.flatten())


def alone() -> list[float]:
    import torch

    model, (tokens, wanted) = gpt(), rows()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model(tokens), wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def split_heads(model: Any, mesh: Any) -> None:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    plan = {
        **dict.fromkeys(("q", "k", "v", "up"), ColwiseParallel()),
        **dict.fromkeys(("out", "down"), RowwiseParallel()),
    }
    for block in model.blocks:
        parallelize_module(block, mesh, plan)


def together(config: dict[str, Any]) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    from shoal.train.torch import context_parallel, get_data_mesh, get_device_mesh, prepare_model

    context = train.get_context()
    mesh = get_device_mesh()
    axes = mesh.mesh_dim_names
    model, (tokens, wanted) = gpt(), rows()
    rank, size = context.get_data_parallel_rank(), context.get_data_parallel_size()
    tokens, wanted = tokens.chunk(size)[rank].clone(), wanted.chunk(size)[rank].clone()
    stages = mesh["pp"].size() if "pp" in axes else 1
    stage = mesh["pp"].get_local_rank() if stages > 1 else 0
    if stages > 1:  # what is of another stage is not here
        model.blocks = model.blocks[stage * 2 // stages : (stage + 1) * 2 // stages]
        if stage == 0:
            model.head = None
        else:
            model.words, model.places = None, None
    if "tp" in axes:
        split_heads(model, mesh["tp"])
    if {"tp", "pp"} & set(axes):
        if (data := get_data_mesh()) is not None:
            fully_shard(model, mesh=data)
    else:
        model = prepare_model(model, parallel_strategy="fsdp" if "fsdp" in axes else "ddp")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    places = torch.arange(LENGTH)

    def learn() -> Any:
        with context_parallel([tokens, wanted, places], [1, 1, 0]):
            loss = loss_of(model(tokens, places), wanted)
            loss.backward()
        assert tokens.shape[1] == LENGTH
        return loss.detach()

    if stages > 1:
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B

        part = PipelineStage(model, stage, stages, torch.device("cpu"), group=mesh["pp"].get_group())
        schedule = Schedule1F1B(part, n_microbatches=4, loss_fn=loss_of)

        def learn() -> Any:
            losses: list[Any] = []
            if stage == 0:
                schedule.step(tokens)
                mean = torch.zeros(())
            else:
                schedule.step(target=wanted, losses=losses)
                mean = torch.stack(losses).mean().detach() * stages  # others add nothing
            return mean

    for _ in range(STEPS):
        optimizer.zero_grad()
        total = learn()
        optimizer.step()
        dist.all_reduce(total)
        train.report({"loss": total.item() / context.get_world_size()})


@pytest.mark.slow
@pytest.mark.parametrize(
    "parallel",
    [
        {"cp": 2},
        {"pp": 2},
        {"dp": 2, "cp": 2},
        {"fsdp": 2, "cp": 2},
        {"dp": 2, "fsdp": 2},
        {"pp": 2, "dp": 2},
        {"pp": 2, "tp": 2},
        {"pp": 2, "dp": 2, "tp": 2},
    ],
    ids=str,
)
def test_the_loss_of_a_gpt_is_that_of_one_process(run_config: Make, parallel: dict[str, int]) -> None:
    result = TorchTrainer(
        together,
        train_loop_config={},
        scaling_config=ScalingConfig(num_workers=math.prod(parallel.values()), parallel=parallel),
        run_config=run_config(name="axes"),
    ).fit()
    assert result.metrics_dataframe is not None
    losses = alone()
    assert losses[-1] < losses[0]
    assert list(result.metrics_dataframe["loss"]) == pytest.approx(losses, rel=1e-4)


def sharded(config: dict[str, Any]) -> None:
    """Train two halves of a run: parameters and the optimizer's state are dealt to however many ranks there are."""
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
    from torch.distributed.fsdp import fully_shard

    model, (tokens, wanted) = gpt(), rows()
    for block in model.blocks:
        fully_shard(block)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    step = 0
    if before := train.get_checkpoint():
        weights, moments = get_state_dict(model, optimizer)
        state: dict[str, Any] = {"model": weights, "optimizer": moments, "step": torch.tensor(0)}
        dcp.load(state, checkpoint_id=before.path)
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        step = int(state["step"])
    rank, size = train.get_context().get_world_rank(), train.get_context().get_world_size()
    for at in range(step, config["until"]):
        optimizer.zero_grad()
        loss = loss_of(model(tokens.chunk(size)[rank]), wanted.chunk(size)[rank])
        loss.backward()
        optimizer.step()
        torch.distributed.all_reduce(loss.detach())
        mean = loss.item() / size
        if at < config["until"] - 1:
            train.report({"loss": mean})
            continue
        weights, moments = get_state_dict(model, optimizer)
        with tempfile.TemporaryDirectory() as folder:  # each rank writes its own shards, as one checkpoint
            dcp.save(
                {"model": weights, "optimizer": moments, "step": torch.tensor(at + 1)}, checkpoint_id=folder
            )
            train.report({"loss": mean}, checkpoint=Checkpoint.from_directory(folder))


@pytest.mark.slow
@pytest.mark.parametrize(("saved", "loaded"), [(4, 2), (2, 4)])
def test_shards_that_some_ranks_saved_others_load(run_config: Make, saved: int, loaded: int) -> None:
    def fit(workers: int, until: int) -> Any:
        return TorchTrainer(
            sharded,
            train_loop_config={"until": until},
            scaling_config=ScalingConfig(num_workers=workers),
            run_config=run_config(name="dealt_anew"),
        ).fit()

    assert fit(saved, 3).checkpoint is not None
    result = fit(loaded, STEPS)
    assert list(result.metrics_dataframe["loss"]) == pytest.approx(alone(), rel=1e-4)


def shared(config: dict[str, Any]) -> None:
    import torch

    from shoal.train.torch import prepare_data_loader

    loader = prepare_data_loader(torch.utils.data.DataLoader(list(range(8)), batch_size=2))
    seen = [int(each) for batch in loader for each in batch]
    context = train.get_context()
    with open(f"{config['folder']}/{context.get_world_rank()}", "w") as file:
        file.write(repr((context.get_data_parallel_rank(), context.get_data_parallel_size(), seen)))


def test_ranks_that_share_a_model_get_the_same_rows(run_config: Make, tmp_path: Any) -> None:
    TorchTrainer(
        shared,
        train_loop_config={"folder": str(tmp_path)},
        scaling_config=ScalingConfig(num_workers=4, parallel={"tp": 2, "dp": 2}),
        run_config=run_config(name="shared"),
    ).fit()
    found = [(tmp_path / str(rank)).read_text() for rank in range(4)]
    assert found[0] == found[2] == "(0, 2, [0, 2, 4, 6])"
    assert found[1] == found[3] == "(1, 2, [1, 3, 5, 7])"


@pytest.mark.parametrize(
    ("mesh", "places"),
    [
        ({"dp": 4}, [(0, 4), (1, 4), (2, 4), (3, 4)]),
        ({"dp": 2, "tp": 2}, [(0, 2), (0, 2), (1, 2), (1, 2)]),
        ({"pp": 2, "fsdp": 2}, [(0, 2), (1, 2), (0, 2), (1, 2)]),
        ({"dp": 2, "fsdp": 2}, [(0, 4), (1, 4), (2, 4), (3, 4)]),
        ({"tp": 2, "cp": 2}, [(0, 1)] * 4),
    ],
    ids=str,
)
def test_who_has_rows_of_his_own(mesh: dict[str, int], places: list[tuple[int, int]]) -> None:
    from shoal.train.mesh import data_place

    assert [data_place(mesh, rank) for rank in range(4)] == places
