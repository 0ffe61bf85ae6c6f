"""Two workers train a network with DeepSpeed: half of it in one run, the rest in another that loads its shards."""

import json
import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import shoal
from shoal import train
from shoal.train import Checkpoint, CheckpointConfig, RunConfig, ScalingConfig
from shoal.train.torch import TorchTrainer


def loop(config):
    import deepspeed

    torch.manual_seed(0)
    context = train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    x, y = load_digits(return_X_y=True)
    left, right, left_y, right_y = train_test_split(
        (x / 16.0).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )
    a, b = torch.tensor(left[rank::size][:640]), torch.tensor(left_y[rank::size][:640])
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        config={
            "train_batch_size": 128,
            "optimizer": {"type": "Adam", "params": {"lr": 3e-3, "torch_adam": True}},
            "zero_optimization": {"stage": config["stage"]},
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 10**9,
        },
    )
    began = 0
    if before := train.get_checkpoint():
        _, state = engine.load_checkpoint(before.path)
        began = state["epoch"]
    for epoch in range(began, config["until"]):
        order = torch.randperm(640, generator=torch.Generator().manual_seed(epoch)).reshape(-1, 64)
        for rows in order:
            loss = torch.nn.functional.cross_entropy(engine(a[rows]), b[rows])
            engine.backward(loss)
            engine.step()
        with torch.no_grad():
            accuracy = (engine(torch.tensor(right)).argmax(1) == torch.tensor(right_y)).float().mean().item()
        with tempfile.TemporaryDirectory() as folder:
            engine.save_checkpoint(folder, client_state={"epoch": epoch + 1})
            train.report(
                {"accuracy": accuracy, "epoch": epoch, "stage": engine.zero_optimization_stage()},
                checkpoint=Checkpoint.from_directory(folder),
            )


def fit(stage, until):
    return TorchTrainer(
        loop,
        train_loop_config={"stage": stage, "until": until},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            name=f"stage_{stage}",
            storage_path=sys.argv[1],
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            verbose=0,
        ),
    ).fit()


if __name__ == "__main__":
    shoal.init(num_cpus=2, log_to_driver=False)
    for stage in map(int, sys.argv[2:]):
        fit(stage, 8)
        result = fit(stage, 16)
        epochs = [int(each) for each in result.metrics_dataframe["epoch"]]
        print(json.dumps({**result.metrics, "epochs": epochs}))
