"""What a shell is told when a user presses the tab key."""

import pytest

from omlab.cli import main


@pytest.fixture
def complete(here, monkeypatch, capsys):
    """What follows after some words, as click's bash script asks for it: `kind,value` lines."""

    def ask(words):
        parts = words.split(" ")
        monkeypatch.setenv("_OMLAB_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(parts) - 1))
        monkeypatch.setattr("sys.argv", ["omlab"])
        with pytest.raises(SystemExit):
            main()
        out, err = capsys.readouterr()
        assert err == ""
        return set(out.split())

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("omlab pred", {"plain,predict"}),
        ("omlab to", {"plain,toy"}),
        ("omlab nonsense --x", set()),
        ("omlab datasets ", {"plain,prepare", "plain,verify"}),
        ("omlab predict --over", {"plain,--overlay"}),
        ("omlab predict ad", {"plain,adder"}),
        ("omlab predict adder.", {"plain,adder.untrained"}),
        ("omlab predict mover.pu", {"plain,mover.published"}),
        ("omlab predict min", {"dir,min"}),
        ("omlab adapt embe", {"plain,embedder"}),
        ("omlab predict adder sc", {"file,sc"}),
        ("omlab predict adder -o ou", {"file,ou"}),
        ("omlab info mean", {"plain,mean-probe"}),
    ],
)
def test_commands_models_cards_and_paths_are_completed(complete, words, expected):
    assert complete(words) == expected
