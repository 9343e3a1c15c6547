"""What an adapted language model keeps of its tokenizer comes back, and cannot write elsewhere."""

import pytest

from omlab.errors import WeightsError
from omlab_text.kept import kept_tokenizer, tokenizer_of
from omlab_text.tiny import tiny_tokenizer
from omlab_text.tokens import TransformersTokenizer


@pytest.mark.parametrize("family", ["bloom", "llama"])
def test_a_tokenizer_comes_back_from_its_texts(family):
    tokenizer = TransformersTokenizer(tiny_tokenizer(family))
    again = tokenizer_of({"tokenizer": kept_tokenizer(tokenizer)})
    text = "Fever, since 3 days: 38.5 °C?"
    assert again.given(text)["input_ids"] == tokenizer.given(text)["input_ids"]


@pytest.mark.parametrize("above", [True, False])
def test_a_folder_of_somebody_else_writes_no_file_where_it_likes(tmp_path, above):
    name = f"../{tmp_path.name}.json" if above else str(tmp_path / "planted.json")
    with pytest.raises(WeightsError, match="which lies outside of it"):
        tokenizer_of({"tokenizer": {name: "{}"}})
    assert not list(tmp_path.iterdir())
