"""A network that was pickled whole: its tensors are read, and nothing that the file names is built."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from omlab.errors import WeightsError  # noqa: E402
from omlab.weights import read_module_state  # noqa: E402


class Net(nn.Module):  # type: ignore[misc,name-defined]  # torch may be absent
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU())
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("unsaved", torch.zeros(3), persistent=False)
        self.note = {"made": "by hand"}


class Trap:
    """Would leave a file behind where it is built."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel])
def test_the_state_dict_is_read(tmp_path: Path, wrap: Any) -> None:
    net = Net()
    torch.save(wrap(net), tmp_path / "net.pt")
    found = read_module_state(tmp_path / "net.pt")
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())


def test_the_classes_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(Net(), tmp_path / "net.pt")
    monkeypatch.delitem(globals(), "Net")
    assert "scale" in read_module_state(tmp_path / "net.pt")


def test_what_would_run_code_does_not(tmp_path: Path) -> None:
    net, trace = Net(), tmp_path / "trace"
    net.note = Trap(trace)
    torch.save(net, tmp_path / "net.pt")
    try:
        found = read_module_state(tmp_path / "net.pt")
    except WeightsError as error:
        assert "refused" in str(error)  # noqa: PT017  # either is safe; which it is depends on torch
    else:
        assert "scale" in found
    assert not trace.exists()


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], {"state_dict": {}}])
def test_another_content_is_said(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match="does not hold a whole network"):
        read_module_state(tmp_path / "net.pt")


def test_a_network_that_diverged_is_refused(tmp_path: Path) -> None:
    net = Net()
    net.scale.data.fill_(float("nan"))
    torch.save(net, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match="scale"):
        read_module_state(tmp_path / "net.pt")


def test_damage_is_said(tmp_path: Path) -> None:
    torch.save(Net(), tmp_path / "net.pt")
    content = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.pt").write_text("nothing")
    for name in ("cut.pt", "text.pt", "absent.pt"):
        with pytest.raises(WeightsError, match=name):
            read_module_state(tmp_path / name)
