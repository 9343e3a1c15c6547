"""XrayPULSE: what its eyes are of, how an image stands in a chat, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import omlab
from omlab.errors import InputError, OmlabWarning, UsageError, WeightsError
from omlab_pulse.eyes import TINY, Eyes, EyesConfig, published
from omlab_pulse.seeing import SEEN
from omlab_text.chat import Chat, Turn, ask
from omlab_text.sampling import Sampling

WIDTH = 32


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name, high in (("chest.png", 255), ("dark.png", 40)):
        Image.fromarray(draw.integers(0, high, (60, 50), dtype=np.uint8)).save(name)


def showing(*places, text="有什么发现?"):
    return Chat(turns=(Turn(role="user", text=text, images=places),))


def model(**more):
    return omlab.load_model("xraypulse-tiny", device="cpu", **more)


def eyes(seed=0):
    torch.manual_seed(seed)
    return Eyes(TINY, width=WIDTH).eval()


def as_published(state):
    """The names that BLIP-2 and XrayPULSE have for the tensors of `Eyes`, and some that these do not need."""
    found = {}
    for name, tensor in state.items():
        name = re.sub(r"^vision\.encoder\.layers\.(\d+)\.layer_norm", r"visual_encoder.blocks.\1.norm", name)
        name = re.sub(
            r"^vision\.encoder\.layers\.(\d+)\.self_attn\.projection", r"visual_encoder.blocks.\1.attn.proj", name
        )
        name = re.sub(r"^vision\.encoder\.layers\.(\d+)\.self_attn", r"visual_encoder.blocks.\1.attn", name)
        name = re.sub(r"^vision\.encoder\.layers", "visual_encoder.blocks", name)
        name = name.replace("vision.embeddings.class_embedding", "visual_encoder.cls_token")
        name = name.replace("vision.embeddings.position_embedding", "visual_encoder.pos_embed")
        name = name.replace("vision.embeddings.patch_embedding", "visual_encoder.patch_embed.proj")
        name = name.replace("vision.post_layernorm", "ln_vision")
        name = re.sub(r"^qformer\.layernorm", "Qformer.bert.embeddings.LayerNorm", name)
        name = re.sub(r"^qformer\.(encoder\.layer\.\d+\.\w+)\.attention\.", r"Qformer.bert.\1.self.", name)
        name = re.sub(r"^qformer\.", "Qformer.bert.", name)
        name = re.sub(r"^queries$", "query_tokens", name)
        name = re.sub(r"^projection\.", "bloom_proj.", name)
        if name.endswith(".attn.qkv.bias"):
            query, key, value = tensor.chunk(3)
            assert not key.any()
            found[name.replace("qkv.bias", "q_bias")] = query
            found[name.replace("qkv.bias", "v_bias")] = value
        else:
            found[name] = tensor
    last = f"visual_encoder.blocks.{TINY.vision_layers}."  # the tower's own file has one layer more
    more = (
        f"{last}norm1.weight",
        f"{last}attn.q_bias",
        f"{last}attn.v_bias",
        "t5_proj.weight",
        "Qformer.cls.predictions.bias",
    )
    more += ("Qformer.bert.embeddings.word_embeddings.weight", "Qformer.bert.encoder.layer.0.output.dense.weight")
    return found | {name: torch.zeros(1) for name in more}


def saved(folder, state):
    """As three files: the tower by itself, BLIP-2's rest and the projection under a wrapper."""
    folder.mkdir()
    tower = {name.removeprefix("visual_encoder."): one for name, one in state.items() if name.startswith("visual_enc")}
    own = {name: one for name, one in state.items() if name.startswith("bloom_proj")}
    rest = {name: one for name, one in state.items() if not name.startswith(("visual_encoder", "bloom_proj"))}
    torch.save(tower, folder / "eva_vit_g.pth")
    torch.save({"model": rest}, folder / "blip2_pretrained_flant5xxl.pth")
    torch.save({"model": own, "epoch": 9}, folder / "checkpoint_9.pth")
    (folder / "README.md").write_text("as published")
    return folder


def drawn_state():
    """Of eyes, with keys without biases as the tower has them."""
    state = eyes(seed=3).state_dict()
    for name, tensor in state.items():
        if name.endswith("qkv.bias"):
            tensor.copy_(torch.cat([torch.randn(WIDTH), torch.zeros(WIDTH), torch.randn(WIDTH)]))
    return state


def test_an_image_becomes_as_many_tokens_as_there_are_queries():
    assert eyes()(torch.zeros(2, 3, 28, 28)).shape == (2, TINY.tokens, WIDTH)


def test_published_eyes_have_the_sizes_of_the_sheet():
    with torch.device("meta"):
        state = Eyes(EyesConfig(), width=4096).state_dict()
    assert state["projection.weight"].shape == (4096, 768)
    assert state["queries"].shape == (1, 32, 768)
    assert state["vision.embeddings.position_embedding"].shape == (1, 257, 1408)
    crossed = {int(name.split(".")[3]) for name in state if "crossattention" in name}
    assert crossed == {0, 2, 4, 6, 8, 10}
    assert not any(".intermediate." in name for name in state)  # the text's path is left out


def test_published_names_are_read(tmp_path):
    state = drawn_state()
    found = published(as_published(state), TINY)
    assert found.keys() == state.keys()
    torch.testing.assert_close(found, dict(state))


def test_three_files_in_a_folder_are_the_eyes(tmp_path):
    state = drawn_state()
    with pytest.warns(OmlabWarning, match="CC-BY-NC-4.0"):
        session = model(weights=saved(tmp_path / "published", as_published(state)))
    torch.testing.assert_close(dict(session.model.backend.eyes.state_dict()), dict(state))


@pytest.mark.filterwarnings("ignore::omlab.errors.OmlabWarning")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bloom_proj.bias": None}, "lack 1 tensors of XrayPULSE's eyes, such as 'projection.bias'"),
        ({"bloom_proj.bias": torch.zeros(7)}, r"'projection.bias' of \(7,\), but XrayPULSE has \(32,\)"),
        ({"adapter.weight": torch.zeros(7)}, "a tensor 'adapter.weight' that XrayPULSE's eyes do not have"),
    ],
)
def test_files_of_other_eyes_are_refused(tmp_path, changed, said):
    state = {name: one for name, one in (as_published(drawn_state()) | changed).items() if one is not None}
    with pytest.raises(WeightsError, match=said):
        model(weights=saved(tmp_path / "published", state))


@pytest.mark.parametrize("norms", [1, 2])
def test_what_pulse_is_given_is_as_the_sheet_says(norms):
    """Text tokenised around the image, and normed as often as is said before BLOOM norms all once more."""
    backend = model(settings={"norms": norms}).model.backend
    prepared = backend.prepare(showing("chest.png"), Sampling(max_tokens=4))
    first, last = prepared.ids.index(SEEN), len(prepared.ids) - prepared.ids[::-1].index(SEEN)
    assert last - first == TINY.tokens
    assert backend.tokenizer.text(prepared.ids[:first]).endswith("User: <Img>")
    assert backend.tokenizer.text(prepared.ids[last:]).startswith("</Img> 有什么发现?")

    network = backend.network.transformer
    before, after = (torch.tensor([ids]) for ids in (prepared.ids[:first], prepared.ids[last:]))
    with torch.inference_mode():
        texts = [network.word_embeddings(ids) for ids in (before, after)]
        texts = [network.word_embeddings_layernorm(each) for each in texts] if norms == 2 else texts
        wanted = torch.cat([texts[0], backend.eyes(prepared.pixels[None]), texts[1]], dim=1)
        given = backend.asked_with([prepared])
    torch.testing.assert_close(given["inputs_embeds"], wanted)
    assert (given["input_ids"] >= 0).all()


def test_pixels_are_blip2s(tmp_path):
    Image.new("L", (50, 60), 255).save("white.png")
    pixels = model().model.backend.prepare(showing("white.png"), Sampling(max_tokens=4)).pixels
    assert pixels.shape == (3, 28, 28)
    wanted = torch.tensor([(1 - 0.48145466) / 0.26862954, (1 - 0.4578275) / 0.26130258, (1 - 0.40821073) / 0.27577711])
    torch.testing.assert_close(pixels[:, 0, 0], wanted)


@pytest.mark.filterwarnings("ignore:The chat shows no image")
@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 3}])
def test_a_batch_a_single_and_a_stream_are_one_answer(options):
    session = model()
    chats = [
        showing("chest.png"),
        showing("dark.png", text="What is seen in the lungs of this patient?"),
        ask("发烧怎么办"),
    ]
    options |= {"max_tokens": 6, "repetition_penalty": 1.1}
    together = session.apply("generate", [{"chat": chat} for chat in chats], **options)
    assert together == [session.generate(chat, **options) for chat in chats]
    assert [*session.stream("generate", {"chat": chats[0]}, **options)][-1] == together[0]
    assert together[0].turns[0].images == ("chest.png",)


def test_another_image_is_another_answer():
    session = model()
    found = [session.generate(showing(name), max_tokens=3, logprobs=True).made for name in ("chest.png", "dark.png")]
    assert found[0].logprobs != found[1].logprobs


def test_an_image_alone_asks_for_a_report():
    backend = model().model.backend
    assert "报告" in backend.format.tokenizer.text(backend.prepare(showing("chest.png", text=""), Sampling()).ids)


def test_a_chat_without_an_image_is_answered_with_a_warning():
    with pytest.warns(OmlabWarning, match="shows no image: PULSE answers from the text alone"):
        model().generate(ask("cough"), max_tokens=3)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["none.png"], "The image none.png that the chat shows is not there: paths are taken from "),
        (["text.png"], "text.png is no PNG"),
        (["chest.png", "dark.png"], "shows 2 images, but the model sees one: chest.png, dark.png"),
        (["https://a/b.png"], "is an address, and nothing is fetched"),
    ],
)
def test_what_cannot_be_seen_is_told(tmp_path, places, said):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=said):
        model().generate(showing(*places), max_tokens=3)


def test_an_image_in_a_turn_that_has_no_room_is_told():
    chat = showing("chest.png").then(Turn(role="assistant", text="a")).then(Turn(role="user", text="b"))
    backend = model().model.backend
    room = len(backend.format.encode(replace(chat, turns=chat.turns[2:]), prompt=True).ids)
    with (
        pytest.warns(OmlabWarning, match="2 oldest turns were left out"),
        pytest.raises(InputError, match=r"turn that shows chest\.png has no room"),
    ):
        backend.prepare(chat, Sampling(budget=room, max_tokens=4))


def test_it_sees_for_a_bloom_alone():
    with pytest.raises(UsageError, match="sees for a BLOOM on this machine"):
        model(needs={"language": "pulse-llama-tiny"})
