"""Let algorithms of shoal.rllib learn, write what came of it, and make the page of it.

python tools/learn.py            # `make learn`: all algorithms, hours
python tools/learn.py dqn sac    # some of them
python tools/learn.py --page     # the page and its picture from the figures that are there; a test compares them
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import shoal
from shoal.rllib import examples, register_env
from shoal.rllib.environments import creator_of
from shoal.rllib.multi_agent.environment import ALL

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "benchmarks" / "learning"
PAGE = ROOT / "docs" / "rllib_learning.md"
PICTURE = ROOT / "docs" / "images" / "rllib" / "learning.svg"
EPISODES = 20  # of one evaluation
OTHERS = 50  # episodes that decide whether the threshold is reached
SEEDS = (1, 2, 3)

SMALL = {"fcnet_hiddens": [64, 64], "fcnet_activation": "relu"}
FLAT = {"fcnet_hiddens": [16], "fcnet_activation": "tanh"}
CARTPOLE, PENDULUM, LANDMARKS = ("CartPole-v1", 450.0), ("Pendulum-v1", -250.0), ("Landmarks", -35.0)
POINT = ("PointMass", -4.0)
VALUES = {
    "lr": 1e-3,
    "train_batch_size": 64,
    "model": SMALL,
    "hiddens": [64],
    "epsilon": [[0, 1.0], [5000, 0.02]],
    "target_network_update_freq": 200,
    "training_intensity": 32,
    "n_step": 3,
}
REAL = {
    "lr": 1e-3,
    "train_batch_size": 128,
    "model": SMALL,
    "tau": 0.01,
    "num_steps_sampled_before_learning_starts": 500,
}
PPO = {
    "lr": 1e-3,
    "train_batch_size": 1024,
    "minibatch_size": 256,
    "num_epochs": 8,
    "lambda_": 0.95,
    "model": {"fcnet_hiddens": [64, 64], "fcnet_activation": "tanh"},
}
ACTORS = {
    "lr": 1e-3,
    "train_batch_size": 500,
    "entropy_coeff": 0.01,
    "model": {"fcnet_hiddens": [64, 64], "fcnet_activation": "tanh"},
}
OFFLINE = {"lr": 1e-3, "train_batch_size": 256, "model": SMALL}
SHARDS = {"replay_buffer_config": {"num_shards": 2}}
TEAM = {
    "lr": 1e-3,
    "max_seq_len": 2,
    "epsilon": 1.0,
    "target_network_update_freq": 100,
    "num_steps_sampled_before_learning_starts": 100,
    "training_intensity": 8,
    "model": SMALL,
    "replay_buffer_config": {"capacity": 500},
}
OFTEN = {"min_time_s_per_iteration": 0.0, "min_sample_timesteps_per_iteration": 5000}


@attrs.frozen
class Task:
    """What an algorithm is to learn, with which settings, in how many steps at most."""

    config: str  # module and class under shoal.rllib.algorithms
    goal: tuple[str, float]
    training: dict[str, Any]
    most: int
    runners: int = 0
    envs: int = 1
    data: str | None = None  # of which algorithm's episodes it learns
    reporting: dict[str, Any] = attrs.field(factory=dict)
    policies: list[str] | None = None


TASKS = {
    "ppo": Task("ppo.PPOConfig", CARTPOLE, PPO, 150_000, envs=4),
    "impala": Task("impala.IMPALAConfig", CARTPOLE, ACTORS, 1_000_000, 2, 5, reporting=OFTEN),
    "appo": Task("appo.APPOConfig", CARTPOLE, ACTORS, 1_000_000, 2, 5, reporting=OFTEN),
    "a2c": Task(
        "a2c.A2CConfig",
        CARTPOLE,
        ACTORS,
        1_000_000,
        envs=5,
        reporting={"min_sample_timesteps_per_iteration": 5000},
    ),
    "a3c": Task("a3c.A3CConfig", CARTPOLE, ACTORS, 1_000_000, 2, 5, reporting=OFTEN),
    "dqn": Task("dqn.DQNConfig", CARTPOLE, VALUES, 60_000),
    "rainbow": Task(
        "rainbow.RainbowConfig",
        CARTPOLE,
        {name: value for name, value in VALUES.items() if name != "epsilon"} | {"v_min": 0, "v_max": 100},
        60_000,
    ),
    "apex_dqn": Task(
        "apex_dqn.ApexDQNConfig",
        CARTPOLE,
        VALUES | SHARDS | {"target_network_update_freq": 500},
        150_000,
        runners=3,
    ),
    "sac_discrete": Task(
        "sac.SACConfig",
        CARTPOLE,
        REAL | {"target_entropy": 0.3, "training_intensity": 64, "n_step": 3},
        60_000,
    ),
    "sac": Task("sac.SACConfig", PENDULUM, REAL, 20_000),
    "td3": Task("td3.TD3Config", PENDULUM, REAL, 20_000),
    "ddpg": Task("ddpg.DDPGConfig", PENDULUM, REAL, 20_000),
    "apex_ddpg": Task(
        "apex_ddpg.ApexDDPGConfig", PENDULUM, REAL | SHARDS | {"training_intensity": 128}, 40_000, runners=3
    ),
    "qmix": Task("qmix.QMIXConfig", ("TwoStepGame", 8.0), TEAM, 20_000),
    "vdn": Task("vdn.VDNConfig", ("TwoStepGame", 7.0), TEAM, 20_000),
    "maddpg": Task(
        "maddpg.MADDPGConfig",
        LANDMARKS,
        {"lr": 3e-3, "train_batch_size": 256, "training_intensity": 64, "model": SMALL, "noise": 0.2},
        40_000,
    ),
    "mappo": Task(
        "mappo.MAPPOConfig",
        LANDMARKS,
        {"lr": 1e-3, "train_batch_size": 2000, "minibatch_size": 500, "gamma": 0.95},
        200_000,
        envs=8,
        policies=["shared"],
    ),
    "mbmpo": Task(
        "mbmpo.MBMPOConfig",
        POINT,
        {
            "horizon": 25,
            "train_batch_size": 250,
            "lr": 3e-3,
            "gamma": 0.97,
            "num_maml_steps": 5,
            "num_trajectories": 10,
            "maml_optimizer_steps": 4,
            "model": {"fcnet_hiddens": [32, 32]},
            "dynamics_model": {"ensemble_size": 3, "fcnet_hiddens": [64], "train_epochs": 40},
        },
        5_000,
    ),
    "es": Task(
        "es.ESConfig",
        CARTPOLE,
        {"model": FLAT, "episodes_per_batch": 60, "noise_stdev": 0.1, "stepsize": 0.1, "l2_coeff": 0.001},
        1_000_000,
        runners=2,
    ),
    "ars": Task(
        "ars.ARSConfig",
        CARTPOLE,
        {"model": FLAT, "num_rollouts": 16, "rollouts_used": 8, "noise_stdev": 0.1, "sgd_stepsize": 0.1},
        1_000_000,
        runners=2,
    ),
    "bc": Task("bc.BCConfig", CARTPOLE, OFFLINE, 2_000_000, data="dqn"),
    "marwil": Task(
        "marwil.MARWILConfig",
        CARTPOLE,
        OFFLINE | {"beta": 1.0, "moving_average_sqd_adv_norm_update_rate": 0.01},
        2_000_000,
        data="dqn",
    ),
    "cql_discrete": Task(
        "cql.CQLConfig",
        CARTPOLE,
        OFFLINE | {"min_q_weight": 1.0, "target_entropy": 0.3},
        2_000_000,
        data="dqn",
    ),
    "iql": Task("iql.IQLConfig", PENDULUM, OFFLINE | {"tau": 0.01, "beta": 0.5}, 4_000_000, data="sac"),
}


def evaluate(algorithm: Any, environment: str, episodes: int = EPISODES, first: int = 10_000) -> float:
    """Return the mean return of some episodes that begin alike whoever plays them, without exploring."""
    env: Any = creator_of(environment)({})
    returns = []
    for number in range(episodes):
        observation, _ = env.reset(seed=first + number)
        algorithm.begin_episode()
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(
                algorithm.act(observation, explore=False)
            )
            if isinstance(reward, dict):  # of several agents
                reward, over = sum(reward.values()), terminated[ALL] or truncated[ALL]
            else:
                over = terminated or truncated
            total += float(reward)
        returns.append(total)
    env.close()
    return float(np.mean(returns))


def configured(task: Task, seed: int) -> Any:
    """Return the task's configuration."""
    module, _, name = task.config.rpartition(".")
    config = getattr(importlib.import_module(f"shoal.rllib.algorithms.{module}"), name)()
    config.environment(task.goal[0]).training(**task.training).debugging(seed=seed)
    if task.envs > 1:
        config.env_runners(num_envs_per_env_runner=task.envs)
    config.reporting(**task.reporting)
    if task.policies is not None:
        config.multi_agent(policies=task.policies)
    return config.env_runners(num_env_runners=task.runners)


def learn(task: Task, seed: int, data: Path | None = None) -> dict[str, Any]:
    """Let an algorithm learn until an evaluation reaches the threshold, or the steps are used up."""
    config = configured(task, seed)
    if data is not None:
        config.offline_data(input_=str(data), dataset_num_iters_per_learner=100)
    algorithm = config.build()
    curve: list[tuple[int, float]] = []
    seconds, steps, learned, found = 0.0, 0, False, float("nan")
    try:
        while steps < task.most:
            begun = time.perf_counter()
            result = algorithm.train()
            seconds += time.perf_counter() - begun
            steps = result["timesteps_total"] if data is None else result["num_rows_trained_lifetime"]
            if not curve or steps - curve[-1][0] >= task.most / 60:
                curve.append((steps, round(evaluate(algorithm, task.goal[0]), 1)))
                # That one evaluation was good may be luck: others decide.
                if curve[-1][1] >= task.goal[1]:
                    found = evaluate(algorithm, task.goal[0], OTHERS, 20_000)
                    if learned := found >= task.goal[1]:
                        break
        if not learned:
            found = evaluate(algorithm, task.goal[0], OTHERS, 20_000)
    finally:
        algorithm.stop()
    return {
        "seed": seed,
        "learned": learned,
        "steps": steps,
        "seconds": round(seconds, 1),
        "return": round(found, 1),
        "curve": curve,
    }


def record(task: Task, folder: Path, seed: int = 1, episodes: int = 100) -> Path:
    """Let an algorithm learn, and write episodes that it plays, exploring, as files; return their folder."""
    from shoal.rllib.offline import record_episodes

    algorithm = configured(task, seed).build()
    try:
        while evaluate(algorithm, task.goal[0]) < task.goal[1]:
            algorithm.train()
        record_episodes(algorithm, folder, episodes=episodes)
    finally:
        algorithm.stop()
    return folder


def main() -> None:
    """Learn what is named, or all, and write the figures and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TASKS)}")
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    unknown = set(given.names) - set(TASKS)
    if unknown:
        parser.error(f"no algorithm is named {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}")
    recorded: dict[str, Path] = {}
    for name in examples.__all__:
        register_env(name, creator_of(getattr(examples, name)))
    with tempfile.TemporaryDirectory() as folder, shoal.init(num_cpus=4):
        for name in [] if given.page else given.names or list(TASKS):
            task = TASKS[name]
            if task.data is not None and task.data not in recorded:
                recorded[task.data] = record(TASKS[task.data], Path(folder) / task.data)
            data = recorded[task.data] if task.data is not None else None
            runs = []
            for seed in SEEDS:
                runs.append(learn(task, seed, data))
                print(name, {key: value for key, value in runs[-1].items() if key != "curve"}, flush=True)
            write(name, task, runs)
    for path, text in pages().items():
        path.write_text(text)


def write(name: str, task: Task, runs: list[dict[str, Any]]) -> None:
    """Write the figures of one algorithm."""
    FIGURES.mkdir(exist_ok=True)
    found = {
        "environment": task.goal[0],
        "threshold": task.goal[1],
        "config": task.config,
        "training": task.training,
        "runners": task.runners,
        "environments": task.envs,
        "data": task.data,
        "most": task.most,
        "runs": runs,
    }
    lines = json.dumps(found, indent=1)
    (FIGURES / f"{name}.json").write_text(lines + "\n")


def pages() -> dict[Path, str]:
    """Return the page and its picture, made of the figures."""
    figures = {name: read(name) for name in TASKS if (FIGURES / f"{name}.json").exists()}
    return {PAGE: page(figures), PICTURE: picture(figures)}


def read(name: str) -> dict[str, Any]:
    """Return the figures of one algorithm."""
    found: dict[str, Any] = json.loads((FIGURES / f"{name}.json").read_text())
    return found


HEAD = f"""\
# What algorithms have learned

Made by `make learn` from the figures in `benchmarks/learning`, which it writes too; `tools/learn.py` has the settings.
Each algorithm learns with each seed until it reaches the threshold: the mean return of {EPISODES} episodes that are
played without exploring, and then that of {OTHERS} others. Steps are the environment's; where an algorithm learns from
recorded episodes they are the rows that it learned from. Seconds are of learning, without evaluations, on two cores
that were at other work too.

| algorithm | environment | threshold | seeds that reached it | steps, median (all) | seconds, median | return then |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page(figures: dict[str, dict[str, Any]]) -> str:
    """Return the page."""
    rows = []
    for name, found in figures.items():
        runs = found["runs"]
        reached = [run for run in runs if run["learned"]]
        steps = ", ".join(f"{run['steps']:,}" if run["learned"] else "—" for run in runs)
        median = f"{int(np.median([run['steps'] for run in reached])):,}" if reached else "—"
        data = f" (episodes of {found['data']})" if found["data"] else ""
        rows.append(
            f"| {name} | {found['environment']}{data} | {found['threshold']:g} | {len(reached)} of {len(runs)} "
            f"| {median} ({steps}) | {np.median([run['seconds'] for run in runs]):.0f} "
            f"| {np.mean([run['return'] for run in runs]):.0f} |"
        )
    return HEAD + "\n".join(rows) + "\n\n![Curves of learning](images/rllib/learning.svg)\n"


_COLOURS = ("#1b6ca8", "#c0392b", "#27834a", "#8e44ad", "#b9770e", "#117a8b", "#5d4037", "#d81b60", "#455a64")
_WIDE, _HIGH, _GAP = 420, 240, 60


def picture(figures: dict[str, dict[str, Any]]) -> str:
    """Return the curves as SVG: a part for each environment and kind of data, each seed a line."""
    groups: dict[str, dict[str, Any]] = {}
    for name, found in figures.items():
        title = found["environment"] + (", recorded" if found["data"] else "")
        groups.setdefault(title, {})[name] = found
    parts = [
        _part(title, group, _GAP + place * (_WIDE + 3 * _GAP))
        for place, (title, group) in enumerate(groups.items())
    ]
    wide = len(groups) * (_WIDE + 3 * _GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {_HIGH + 2 * _GAP}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{"".join(parts)}</svg>\n'
    )


def _part(title: str, group: dict[str, Any], left: float) -> str:
    curves = [run["curve"] for found in group.values() for run in found["runs"]]
    most = max(steps for curve in curves for steps, _ in curve)
    returns = [each for curve in curves for _, each in curve]
    low, high = min(returns), max(returns)

    def at(steps: float, each: float) -> str:
        return f"{left + _WIDE * steps / most:.1f},{_GAP + _HIGH * (1 - (each - low) / max(1e-9, high - low)):.1f}"

    bottom = _GAP + _HIGH
    made = [
        f'<text x="{left}" y="{_GAP - 20}" font-size="15">{title}: return by steps</text>\n',
        f'<path d="M{left},{_GAP} V{bottom} H{left + _WIDE}" fill="none" stroke="#888"/>\n',
        f'<text x="{left - 5}" y="{bottom}" text-anchor="end">{low:.0f}</text>\n',
        f'<text x="{left - 5}" y="{_GAP + 5}" text-anchor="end">{high:.0f}</text>\n',
        f'<text x="{left + _WIDE}" y="{bottom + 18}" text-anchor="end">{most:,}</text>\n',
    ]
    for place, (name, found) in enumerate(group.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        for run in found["runs"]:
            points = " ".join(at(*point) for point in run["curve"])
            made.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>\n')
        made.append(
            f'<text x="{left + _WIDE + 10}" y="{_GAP + 10 + 16 * place}" fill="{colour}">{name}</text>\n'
        )
    return "".join(made)


if __name__ == "__main__":
    main()
