"""`shoal completion`: what makes a shell complete the words of `shoal`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from shoal.observe.commands import json_option, say

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_SHOAL_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@json_option("Print JSON: the shell and the script.")
@click.pass_context
def completion(ctx: click.Context, shell: str, json_: bool) -> None:
    """Print what makes a shell complete the words of `shoal`.

    \b
    bash: eval "$(shoal completion bash)"          in ~/.bashrc
    zsh:  eval "$(shoal completion zsh)"           in ~/.zshrc
    fish: shoal completion fish | source           in ~/.config/fish/config.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click has these three
    maker = found(ctx.find_root().command, {}, "shoal", _VARIABLE)
    # Not `source()`, which for bash runs bash, to see that it is not ancient.
    script = maker.source_template % maker.source_vars()
    say({"shell": shell, "script": script}, script, json_)
