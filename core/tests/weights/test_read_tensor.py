"""Torch files that hold one tensor by itself."""

import pytest

from omlab.errors import WeightsError
from omlab.weights import read_tensor

torch = pytest.importorskip("torch")


def test_a_tensor_by_itself_is_read(tmp_path):
    torch.save(torch.arange(6.0).reshape(2, 3), tmp_path / "a.pt")
    assert read_tensor(tmp_path / "a.pt").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_is_no_tensor_is_named(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"a\.pt holds a dict, not a tensor"):
        read_tensor(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(WeightsError, match=r"b\.pt"):
        read_tensor(tmp_path / "b.pt")
