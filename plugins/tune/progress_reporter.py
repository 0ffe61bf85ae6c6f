"""What a terminal or a notebook shows of an experiment while it runs."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shoal.errors import ConfigError
from shoal.tune.callback import Callback
from shoal.tune.experiment.trial import Trial
from shoal.tune.modes import check_mode
from shoal.tune.schedulers.trial_scheduler import AUTO
from shoal.tune.tools.log import in_notebook

__all__ = [
    "CLIReporter",
    "JupyterNotebookReporter",
    "ProgressReporter",
    "RemoteReporterMixin",
    "ReporterCallback",
    "TrialProgressCallback",
    "TuneReporterBase",
    "progress_rows",
]

_ORDER = ("RUNNING", "PAUSED", "PENDING", "ERROR", "TERMINATED")


class ProgressReporter:
    """Shows an experiment's progress now and then: override `should_report` and `report`.

    Example: `RunConfig(progress_reporter=CLIReporter(metric_columns=["loss"]))`
    """

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Know the experiment."""

    def should_report(self, trials: Sequence[Trial], done: bool = False) -> bool:
        """Return whether `report` is to be called now; with `done` it is the last time."""
        return True

    def report(self, trials: Sequence[Trial], done: bool, *sys_info: Any) -> None:
        """Show how the trials stand."""
        raise NotImplementedError(f"{type(self).__name__} has no method report")


def progress_rows(
    trials: Sequence[Trial], metrics: Sequence[str], parameters: Sequence[str], most: int
) -> tuple[list[str], list[list[str]]]:
    """Return a table of trials: its columns, and a row for each of at most so many trials, those that run first.

    Example: `progress_rows(trials, ["loss"], ["lr"], 20)`
    """
    rows = []
    for trial in sorted(trials, key=lambda each: (_ORDER.index(each.status), each.number))[:most]:
        values = [trial.config.get(name, "") for name in parameters]
        values += [trial.last_result.get(name, "") for name in metrics]
        rows.append([trial.trial_id, trial.status, *map(_text, values)])
    return ["trial", "status", *parameters, *metrics], rows


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)[:20]


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class RemoteReporterMixin:
    """Shows text here, or puts it into a queue for another process that shows it.

    Example: `reporter.output_queue = shoal.util.queue.Queue()`
    """

    _output_queue: Any = None

    @property
    def output_queue(self) -> Any:
        """The queue that text is put into, None to show it here."""
        return self._output_queue

    @output_queue.setter
    def output_queue(self, queue: Any) -> None:
        self._output_queue = queue

    def display(self, string: str) -> None:
        """Show a line."""
        if self._output_queue is None:
            _write(string)
        else:
            self._output_queue.put(string)


class TuneReporterBase(ProgressReporter, RemoteReporterMixin):
    """Makes a table of trials now and then; a subclass draws it, in `_draw`.

    Parameters: `metric_columns` and `parameter_columns` are what is shown (the first few that there are by default), or
    mappings from names to titles. At most `max_progress_rows` trials and `max_error_rows` errors are shown, every
    `max_report_frequency` seconds; text is cut to `max_column_length`. `metric` and `mode` say which trial is best, and
    with `sort_by_metric` the best come first.
    Raises ConfigError.

    """

    DEFAULT_COLUMNS: ClassVar[dict[str, str]] = {
        "training_iteration": "iter",
        "time_total_s": "total time (s)",
        "timesteps_total": "ts",
        "mean_accuracy": "acc",
        "mean_loss": "loss",
    }
    VALID_SUMMARY_TYPES: ClassVar[frozenset[type]] = frozenset({int, float, str, bool, type(None)})

    def __init__(
        self,
        *,
        metric_columns: Sequence[str] | Mapping[str, str] | None = None,
        parameter_columns: Sequence[str] | Mapping[str, str] | None = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: float = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        check_mode(mode)
        self._metrics = (
            dict(metric_columns) if isinstance(metric_columns, Mapping) else list(metric_columns or ())
        )
        self._parameters = (
            dict(parameter_columns)
            if isinstance(parameter_columns, Mapping)
            else list(parameter_columns or ())
        )
        self._total = total_samples
        self._most = max_progress_rows
        self._most_errors = max_error_rows
        self._width = max_column_length
        self._every = max_report_frequency
        self._infer = infer_limit
        self._between = print_intermediate_tables
        self._metric = metric
        self._mode = mode
        self._sort = sort_by_metric
        self._began = time.time()
        self._shown = 0.0
        self._live: Any = None

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Know the experiment."""
        self.set_start_time(start_time)
        self.set_total_samples(total_samples)
        self.set_search_properties(metric, mode)

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Take metric and mode, which say what is best, unless there are some; return whether there were none."""
        taken = not (self._metric and metric) and not (self._mode and mode)
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        return taken

    def set_start_time(self, timestamp: float | None = None) -> None:
        """Count seconds from then, or from now."""
        self._began = time.time() if timestamp is None else timestamp

    def set_total_samples(self, total_samples: int | None) -> None:
        """Say how many trials there will be, unless that was said."""
        self._total = self._total or total_samples

    def should_report(self, trials: Sequence[Trial], done: bool = False) -> bool:
        """Return whether enough time has gone by, and somebody looks."""
        if done:
            return True
        watched = self._is_watched() or self._output_queue is not None
        if not (watched if self._between is None else self._between):
            return False
        return time.monotonic() - self._shown >= self._every

    def _is_watched(self) -> bool:
        return sys.stdout.isatty()

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Show a metric more."""
        if isinstance(self._metrics, dict):
            self._metrics[metric] = representation or metric
        else:
            self._metrics.append(metric)

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Show a parameter more."""
        if isinstance(self._parameters, dict):
            self._parameters[parameter] = representation or parameter
        else:
            self._parameters.append(parameter)

    def summary(self, trials: Sequence[Trial]) -> str:
        """Return a line: how many trials stand how, for how long, and the best."""
        counts = Counter(trial.status for trial in trials)
        total = f" of {self._total}" if self._total and self._total > 0 else ""
        text = ", ".join(f"{counts[status]} {status}" for status in _ORDER if counts[status])
        line = f"{len(trials)}{total} trials ({text or 'none yet'}), {time.time() - self._began:.0f} s"
        best = self._best(trials)
        if best is not None:
            line += f"; best {self._metric} {_text(best.last_result[self._metric or ''])} of {best.trial_id}"
        return line

    def _best(self, trials: Sequence[Trial]) -> Trial | None:
        having = [trial for trial in trials if self._metric and self._metric in trial.last_result]
        if not having or not isinstance(self._metric, str):
            return None
        pick = min if self._mode == "min" else max
        return pick(having, key=lambda trial: trial.last_result[self._metric or ""])

    def table(self, trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
        """Return the table's columns and rows."""
        metrics = list(self._metrics)
        parameters = list(self._parameters)
        for trial in trials:
            if not parameters:
                parameters = list(trial.config)[: self._infer]
            if not metrics and trial.last_result:
                metrics = ["training_iteration"]
                metrics += [
                    name
                    for name, value in trial.last_result.items()
                    if name not in AUTO and type(value) in self.VALID_SUMMARY_TYPES
                ][: self._infer]
        shown = list(trials)
        if self._sort and self._metric:
            having = [trial for trial in trials if self._metric in trial.last_result]
            shown = sorted(
                having, key=lambda trial: trial.last_result[self._metric or ""], reverse=self._mode == "max"
            )
            columns, rows = progress_rows([], metrics, parameters, 0)
            rows = [
                row
                for trial in shown[: self._most]
                for row in progress_rows([trial], metrics, parameters, 1)[1]
            ]
        else:
            columns, rows = progress_rows(shown, metrics, parameters, self._most)
        titles = {
            **self.DEFAULT_COLUMNS,
            **(self._metrics if isinstance(self._metrics, dict) else {}),
            **(self._parameters if isinstance(self._parameters, dict) else {}),
        }
        return [titles.get(name, name) for name in columns], [
            [cell[: self._width] for cell in row] for row in rows
        ]

    def report(self, trials: Sequence[Trial], done: bool, *sys_info: Any) -> None:
        """Draw the table; at the end of a run that nobody watches, say one line."""
        self._shown = time.monotonic()
        if self._output_queue is not None or (not self._is_watched() and not self._between):
            self.display(self.summary(trials))
        else:
            self._draw(trials, done)
        if done:
            failed = [trial for trial in trials if trial.status == Trial.ERROR]
            for trial in failed[: self._most_errors]:
                self.display(
                    f"{trial.trial_id} failed: {trial.error.strip().splitlines()[-1] if trial.error else ''}"
                )

    def _draw(self, trials: Sequence[Trial], done: bool) -> None:
        _write(self.summary(trials))


class CLIReporter(TuneReporterBase):
    """Shows a table in a terminal, drawn anew; where the output is no terminal it says nothing until the end.

    Parameters: `metric_columns` and `parameter_columns` are what is shown (the first few that there are by default), or
    mappings from names to titles. At most `max_progress_rows` trials and `max_error_rows` errors are shown, every
    `max_report_frequency` seconds; text is cut to `max_column_length`. `metric` and `mode` say which trial is best, and
    with `sort_by_metric` the best come first.
    Raises ConfigError.

    Example: `CLIReporter(metric_columns=["loss"], max_report_frequency=10)`
    """

    def _draw(self, trials: Sequence[Trial], done: bool) -> None:
        try:
            from rich.live import Live
            from rich.table import Table
        except ImportError:
            _write(self.summary(trials))
            return
        columns, rows = self.table(trials)
        drawn = Table(*columns, title=self.summary(trials))
        for row in rows:
            drawn.add_row(*row)
        if self._live is None:
            self._live = Live(auto_refresh=False)
            self._live.start()
        self._live.update(drawn, refresh=True)
        if done:
            self._live.stop()
            self._live = None


class JupyterNotebookReporter(TuneReporterBase):
    """Shows the table in a notebook's cell, in the place of the one before.

    Parameters: with `overwrite=False` tables follow each other; the others are those of CLIReporter.
    """

    def __init__(
        self,
        *,
        overwrite: bool = True,
        metric_columns: Sequence[str] | Mapping[str, str] | None = None,
        parameter_columns: Sequence[str] | Mapping[str, str] | None = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: float = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        super().__init__(
            metric_columns=metric_columns,
            parameter_columns=parameter_columns,
            total_samples=total_samples,
            max_progress_rows=max_progress_rows,
            max_error_rows=max_error_rows,
            max_column_length=max_column_length,
            max_report_frequency=max_report_frequency,
            infer_limit=infer_limit,
            print_intermediate_tables=print_intermediate_tables,
            metric=metric,
            mode=mode,
            sort_by_metric=sort_by_metric,
        )
        self._overwrite = overwrite

    def _is_watched(self) -> bool:
        return True

    def html(self, trials: Sequence[Trial]) -> str:
        """Return the table as HTML."""
        from html import escape

        return f"<p>{escape(self.summary(trials))}</p>{_html_table(*self.table(trials))}"

    def _draw(self, trials: Sequence[Trial], done: bool) -> None:
        try:
            from IPython.display import HTML, clear_output, display
        except ImportError as error:
            raise ConfigError(
                "JupyterNotebookReporter needs IPython, as notebooks have: pip install ipython"
            ) from error
        if self._overwrite:
            clear_output(wait=True)
        display(HTML(self.html(trials)))


class ReporterCallback(Callback):
    """Calls a reporter, as the experiment's rounds go."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Have the reporter know the experiment."""
        metric, mode = info.get("metric"), info.get("mode")
        self._reporter.setup(
            start_time=time.time(),
            total_samples=total_num_samples,
            metric=metric if isinstance(metric, str) else None,
            mode=mode if isinstance(mode, str) else None,
        )

    def on_step_end(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """Report if it is time."""
        if self._reporter.should_report(trials, done=False):
            self._reporter.report(trials, False)

    def on_experiment_end(self, trials: Sequence[Trial], **info: Any) -> None:
        """Report for the last time."""
        if self._reporter.should_report(trials, done=True):
            self._reporter.report(trials, True)


class TrialProgressCallback(Callback):
    """Prints a line or a table of each report: for programs that are followed by their output.

    Parameters: `metric` and `progress_metrics` are what is shown (what trials report, by default).

    Example: `RunConfig(callbacks=[TrialProgressCallback(progress_metrics=["loss"])])`
    """

    def __init__(self, metric: str | None = None, progress_metrics: Sequence[str] | None = None) -> None:
        self._metric = metric
        self._progress = list(progress_metrics or ())

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Print a report."""
        self.log_result(trial, result)

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Print that a trial has failed."""
        self.log_result(trial, trial.last_result, error=True)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Print a trial's end."""
        self.log_result(trial, {**trial.last_result, "done": True})

    def log_result(self, trial: Trial, result: Mapping[str, Any], error: bool = False) -> None:
        """Print a report: in a notebook as a table, else as a line."""
        done = bool(result.get("done")) or error
        (self.display_result if in_notebook() else self.print_result)(trial, result, error, done)

    def _shown(self, result: Mapping[str, Any]) -> dict[str, Any]:
        wanted = self._progress or ([self._metric] if self._metric else None)
        names = [name for name in result if name not in AUTO] if wanted is None else wanted
        return {str(name): result[name] for name in names if name in result}

    def print_result(self, trial: Trial, result: Mapping[str, Any], error: bool, done: bool) -> None:
        """Print a line."""
        state = "failed" if error else "has ended" if done else "reports"
        said = ", ".join(f"{name} {_text(value)}" for name, value in self._shown(result).items())
        count = result.get("training_iteration", 0)
        _write(f"trial {trial.trial_id} {state}, {count} reports: {said or 'no metrics'}")

    def display_result(self, trial: Trial, result: Mapping[str, Any], error: bool, done: bool) -> None:
        """Show the trial as a table in a notebook's cell. Raises ConfigError without IPython."""
        try:
            from IPython.display import HTML, display
        except ImportError as missing:
            raise ConfigError("a table in a notebook needs IPython: pip install ipython") from missing
        display(HTML(self.generate_trial_table([trial], list(self._shown(result)))))

    def generate_trial_table(self, trials: Sequence[Trial], columns: Sequence[str]) -> str:
        """Return a table of trials' last reports as HTML."""
        return _html_table(*progress_rows(trials, columns, [], len(trials)))


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from html import escape

    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
