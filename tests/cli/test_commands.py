import click
import pytest
from click.testing import CliRunner, Result

from wireguard_mesh.cli.commands import Group


@click.group(cls=Group, invoke_without_command=True)
@click.option("-exit-node/-no-exit-node", "--exit-node/--no-exit-node", "exit_node", default=None)
@click.option("-force", "--force", is_flag=True)
@click.option("-name", "--name")
@click.pass_context
def program(context: click.Context, exit_node: bool | None, force: bool, name: str | None) -> None:
    if context.invoked_subcommand is None:
        click.echo(f"{exit_node} {force} {name}")


@program.command()
@click.option("-status", "--status", is_flag=True)
@click.option("-c", "count", type=int)
@click.argument("words", nargs=-1)
def inner(status: bool, count: int | None, words: tuple[str, ...]) -> None:
    click.echo(f"{status} {count} {words}")


def run(*words: str) -> Result:
    return CliRunner().invoke(program, words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-exit-node"], "True False None"),
        (["-exit-node=true"], "True False None"),
        (["--exit-node=1"], "True False None"),
        (["-exit-node=false"], "False False None"),
        (["-force=true", "-name=x=y"], "None True x=y"),
        (["-force=false"], "None False None"),
        (["inner", "-c3", "-status=true", "--", "-status=true"], "True 3 ('-status=true',)"),
    ],
)
def test_switches_take_a_value_as_in_go(words: list[str], expected: str) -> None:
    result = run(*words)
    assert result.output.strip() == expected


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-foo"], "-foo"),
        (["-forse"], "-forse"),
        (["--foo=3"], "--foo"),
        (["inner", "-statu"], "-statu"),
        (["inner", "-bar=1"], "-bar"),
    ],
)
def test_a_flag_that_is_none_is_named_whole(words: list[str], named: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert f"No such option '{named}'" in result.output or f"No such option: {named}" in result.output


def test_the_flag_that_was_meant_is_named() -> None:
    assert "-status" in run("inner", "-statu").output


def test_a_value_that_is_neither_is_refused() -> None:
    result = run("-exit-node=maybe")
    assert result.exit_code == 2
    assert "maybe" in result.output
