"""Text encoders from folders, and what is said of folders and classes that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from omlab.errors import SettingsError, WeightsError
from omlab_cite.texts import Drawn, check_settings, read_encoder, texts_of


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_folder_is_read_with_and_without_the_prefix_of_its_head(tmp_path: Path, prefix: str) -> None:
    encoder = read_encoder(tiny.write_encoder(tmp_path / "bert", prefix=prefix))
    both = encoder(["well differentiated adenocarcinoma", "poorly differentiated"])
    assert both.shape == (2, 32)
    assert torch.allclose(both[1:], encoder(["poorly differentiated"]))  # none is padded
    first = read_encoder(tmp_path / "bert", pooling="first")(["poorly differentiated"])
    assert not torch.allclose(first, both[1:])


def test_long_texts_are_cut(tmp_path: Path) -> None:
    encoder = read_encoder(tiny.write_encoder(tmp_path / "bert"))
    assert encoder([" ".join(["well"] * 200)]).shape == (1, 32)


def test_what_is_no_encoder_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder"):
        read_encoder(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match=r"no config\.json and no tokenizer .* and no checkpoint"):
        read_encoder(tmp_path)
    folder = tiny.write_encoder(tmp_path / "bert")
    (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(WeightsError, match=r"config\.json does not tell"):
        read_encoder(folder)


def test_a_checkpoint_without_a_pooler_needs_another_token(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny.write_encoder(tmp_path / "bert")
    state = {key: value for key, value in load_file(folder / "model.safetensors").items() if "pooler" not in key}
    save_file(state, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"pooler.* set pooling=first"):
        read_encoder(folder)
    assert read_encoder(folder, pooling="first")(["well"]).shape == (1, 32)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])
    with pytest.raises(WeightsError):
        read_encoder(folder, pooling="first")


def test_drawn_texts_are_functions_of_the_text() -> None:
    drawn = Drawn(width=8)(["a", "b", "a"])
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_classes_have_texts() -> None:
    assert texts_of(["tumour = colorectal cancer", "normal"]) == {"tumour": "colorectal cancer", "normal": "normal"}
    for wrong, said in ((["a=", "b"], "'a' has no text"), (["=x"], "has no text"), (["a", "a=b"], "named twice")):
        with pytest.raises(SettingsError, match=said):
            texts_of(wrong)
    with pytest.raises(SettingsError, match="fewer than two"):
        check_settings({"classes": ["a"], "text": ""}, weights="openai")
    with pytest.raises(SettingsError, match="no folder"):
        check_settings({"classes": ["a", "b"], "text": "/nowhere"}, weights="openai")
