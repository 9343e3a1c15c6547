import gguf
import pytest
import torch

import omlab
from omlab_text.chat import ask
from omlab_text.tiny import tiny_network, tiny_tokenizer

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers": "blk",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
    "input_layernorm": "attn_norm",
}


def turned(weight, heads):
    """Rows of a head as llama.cpp has them for its rotary positions."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def save(path, network, tokenizer):
    config = network.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(config.vocab_size)
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([-float(place) for place in range(len(words))])
    writer.add_token_types([1] * len(words))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    for name, tensor in network.state_dict().items():
        array = tensor.numpy()
        if "q_proj" in name:
            array = turned(array, config.num_attention_heads)
        if "k_proj" in name:
            array = turned(array, config.num_key_value_heads)
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, array.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_the_network_that_it_was_made_of(tmp_path):
    tokenizer = tiny_tokenizer("llama")
    network = tiny_network("llama", words=len(tokenizer))
    path = tmp_path / "tiny.gguf"
    save(path, network, tokenizer)
    session = omlab.load_model("causal-lm", weights=path, device="cpu", settings={"format": "plain"})
    ids = torch.tensor([[1, 70, 71, 300, 12]])
    with torch.inference_mode():
        wanted, found = network(ids).logits, session.model.backend.network(ids).logits
    assert found.flatten().tolist() == pytest.approx(wanted.flatten().tolist(), abs=1e-4)
    assert session.generate(ask("What is fever?"), max_tokens=5).made.model == "tiny.gguf"
