"""Two workers train a network of Keras under tf.distribute.MultiWorkerMirroredStrategy."""

import json
import os
import sys
import tempfile

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import shoal
from shoal import train
from shoal.train import Checkpoint, RunConfig, ScalingConfig
from shoal.train.tensorflow import TensorflowTrainer


def digits():
    x, y = load_digits(return_X_y=True)
    return train_test_split((x / 16.0).astype("float32"), y, test_size=0.25, random_state=0, stratify=y)


def network():
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.layers.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    )


def loop(config):
    import keras
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    context = train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    left, right, left_y, right_y = digits()
    left, left_y = left[rank::size][:640], left_y[rank::size][:640]
    with strategy.scope():
        model = network()
        optimizer = keras.optimizers.SGD(0.2, momentum=0.9)
        optimizer.build(model.trainable_variables)

    @tf.function
    def step(x, y):
        def replica(x, y):
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
                loss = tf.reduce_mean(losses) / size
            optimizer.apply_gradients(
                zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
            )
            return loss

        return strategy.reduce("sum", strategy.run(replica, args=(x, y)), axis=None)

    for _ in range(config["epochs"]):
        order = np.random.default_rng(rank).permutation(640).reshape(-1, 64)
        losses = [float(step(tf.constant(left[rows]), tf.constant(left_y[rows]))) for rows in order]
        accuracy = float((np.argmax(model(right).numpy(), 1) == right_y).mean())
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if rank == 0:
                np.savez(f"{folder}/weights.npz", *model.get_weights())
                checkpoint = Checkpoint.from_directory(folder)
            metrics = {
                "loss": losses[-1],
                "accuracy": accuracy,
                "replicas": strategy.num_replicas_in_sync,
                "cluster": len(json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]),
            }
            train.report(metrics, checkpoint=checkpoint)


if __name__ == "__main__":
    shoal.init(num_cpus=2, log_to_driver=False)
    result = TensorflowTrainer(
        loop,
        train_loop_config={"epochs": 10},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="tensorflow", storage_path=sys.argv[1], verbose=0),
    ).fit()
    print(json.dumps({**result.metrics, "kept": os.listdir(result.checkpoint.path)}))
