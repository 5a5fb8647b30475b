import click
import pytest

from wireguard_mesh.cli import errors
from wireguard_mesh.model.errors import Conflict


def ends(monkeypatch: pytest.MonkeyPatch, *, error: BaseException | None = None, argument: str = "") -> int:
    @click.command()
    def command() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr("sys.argv", ["vpn-client", *argument.split()])
    with pytest.raises(SystemExit) as raised:
        errors.run(command, "vpn-client")
    assert isinstance(raised.value.code, int)
    return raised.value.code


def test_success(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends(monkeypatch) == 0
    assert ends(monkeypatch, argument="--help") == 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Conflict("taken", "choose\nanother"), 1, "vpn-client: taken; choose another\n"),
        (click.UsageError("what?"), 2, "vpn-client: what?\n"),
        (click.ClickException("odd"), 1, "vpn-client: odd\n"),
        (click.Abort(), 130, ""),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("oops"), 1, "vpn-client: internal fault: RuntimeError: oops; for details set VPN_DEBUG=1\n"),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    assert ends(monkeypatch, error=error) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err.replace("\n\n", "\n").removeprefix("\n")) == ("", said)


def test_who_looks_into_a_fault_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def command() -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr("sys.argv", ["vpn-client"])
    monkeypatch.setenv("VPN_DEBUG", "1")
    with pytest.raises(RuntimeError):
        errors.run(command, "vpn-client")


def test_a_usage_error_of_clicks_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(monkeypatch, argument="-colour") == 2
    assert capsys.readouterr().err.startswith("vpn-client: No such option")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("No such command 'postgresql://u:se cr@et@h/d'.", "No such command 'postgresql://u:...@h/d'."),
        ("extra postgres://u@h/d?sslmode=x&password=secret&a=b", "extra postgres://u@h/d?sslmode=x&password=...&a=b"),
        ("cannot reach postgresql://u@/d?host=/run: refused", "cannot reach postgresql://u@/d?host=/run: refused"),
        ("http://192.0.2.1:8080 does not answer", "http://192.0.2.1:8080 does not answer"),
    ],
)
def test_a_databases_password_in_the_wrong_place_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert ends(monkeypatch, error=click.UsageError(text)) == 2
    assert capsys.readouterr().err == f"vpn-client: {said}\n"
