"""Two workers train a network of JAX: one program over the devices of both."""

import json
import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import shoal
from shoal import train
from shoal.train import RunConfig, ScalingConfig
from shoal.train.jax import JaxTrainer


def loop(config):
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    rank = train.get_context().get_world_rank()
    x, y = load_digits(return_X_y=True)
    left, right, left_y, right_y = train_test_split(
        (x / 16.0).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )
    mesh = Mesh(np.array(jax.devices()), ("data",))
    rows, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    mine = slice(rank * 640, (rank + 1) * 640)
    a = jax.make_array_from_process_local_data(rows, left[mine])
    b = jax.make_array_from_process_local_data(rows, left_y[mine])
    random = np.random.default_rng(0)
    start = [
        (random.standard_normal(shape) * 0.1).astype("float32")
        for shape in ((64, 64), (64,), (64, 10), (10,))
    ]
    weights = [jax.make_array_from_process_local_data(whole, each) for each in start]
    speed = [jax.make_array_from_process_local_data(whole, np.zeros_like(each)) for each in start]

    def said(weights, x):
        return jax.nn.relu(x @ weights[0] + weights[1]) @ weights[2] + weights[3]

    def loss_of(weights, x, y):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(said(weights, x)), y[:, None], 1))

    @jax.jit
    def step(weights, speed, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        speed = [0.9 * v + g for v, g in zip(speed, gradients, strict=True)]
        return loss, [w - 0.3 * v for w, v in zip(weights, speed, strict=True)], speed

    for epoch in range(config["epochs"]):
        for _ in range(20):
            loss, weights, speed = step(weights, speed, a, b)
        here = [np.asarray(each.addressable_data(0)) for each in weights]
        accuracy = float(
            (np.argmax(np.maximum(right @ here[0] + here[1], 0) @ here[2] + here[3], 1) == right_y).mean()
        )
        train.report(
            {
                "loss": float(loss.addressable_data(0)),
                "accuracy": accuracy,
                "devices": jax.device_count(),
                "processes": jax.process_count(),
                "epoch": epoch,
            }
        )


if __name__ == "__main__":
    shoal.init(num_cpus=2, log_to_driver=False)
    result = JaxTrainer(
        loop,
        train_loop_config={"epochs": 10},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="jax", storage_path=sys.argv[1], verbose=0),
    ).fit()
    print(json.dumps(result.metrics))
