"""The names of what every report has, of what reports often have, and of an experiment's files."""

from __future__ import annotations

__all__ = [
    "CONFIG_PREFIX",
    "DEFAULT_EXPERIMENT_NAME",
    "DEFAULT_METRIC",
    "DONE",
    "EPISODES_THIS_ITER",
    "EPISODES_TOTAL",
    "EPISODE_REWARD_MEAN",
    "EXPERIMENT_TAG",
    "EXPR_ERROR_FILE",
    "EXPR_ERROR_PICKLE_FILE",
    "EXPR_META_FILE",
    "EXPR_PARAM_FILE",
    "EXPR_PARAM_PICKLE_FILE",
    "EXPR_PROGRESS_FILE",
    "EXPR_RESULT_FILE",
    "HOSTNAME",
    "JOB_META_FILE",
    "MEAN_ACCURACY",
    "MEAN_LOSS",
    "NODE_IP",
    "PID",
    "RESULT_DUPLICATE",
    "SHOULD_CHECKPOINT",
    "STDERR_FILE",
    "STDOUT_FILE",
    "TIMESTAMP",
    "TIMESTEPS_THIS_ITER",
    "TIMESTEPS_TOTAL",
    "TIME_THIS_ITER_S",
    "TIME_TOTAL_S",
    "TRAINING_ITERATION",
    "TRIAL_ID",
    "TRIAL_INFO",
]

# What every report has
DONE = "done"
EXPERIMENT_TAG = "experiment_tag"
HOSTNAME = "hostname"
PID = "pid"
TIMESTAMP = "timestamp"
TIME_THIS_ITER_S = "time_this_iter_s"
TIME_TOTAL_S = "time_total_s"
TRAINING_ITERATION = "training_iteration"
TRIAL_ID = "trial_id"

# What a report may have
DEFAULT_METRIC = "_metric"  # of what a function returns that is one number
EPISODES_THIS_ITER = "episodes_this_iter"
EPISODES_TOTAL = "episodes_total"
EPISODE_REWARD_MEAN = "episode_reward_mean"
MEAN_ACCURACY = "mean_accuracy"
MEAN_LOSS = "mean_loss"
NODE_IP = "node_ip"
RESULT_DUPLICATE = "__duplicate__"
SHOULD_CHECKPOINT = "should_checkpoint"  # a class's step has a checkpoint saved with it
TIMESTEPS_THIS_ITER = "timesteps_this_iter"
TIMESTEPS_TOTAL = "timesteps_total"

# What a configuration may have
CONFIG_PREFIX = "config"  # of its names in tables: config/lr
STDERR_FILE = "__stderr_file__"
STDOUT_FILE = "__stdout_file__"
TRIAL_INFO = "__trial_info__"

# Files, which the loggers of CSV and JSON write
DEFAULT_EXPERIMENT_NAME = "default"
EXPR_ERROR_FILE = "error.txt"
EXPR_ERROR_PICKLE_FILE = "error.pkl"
EXPR_META_FILE = "trial_status.json"
EXPR_PARAM_FILE = "params.json"
EXPR_PARAM_PICKLE_FILE = "params.pkl"
EXPR_PROGRESS_FILE = "progress.csv"
EXPR_RESULT_FILE = "result.json"
JOB_META_FILE = "job_status.json"
