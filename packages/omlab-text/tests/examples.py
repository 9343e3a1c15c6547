import json


def many_file(card, folder):
    if card != "chat-list":
        return None
    path = folder / "talks.json"
    talk = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good morning"}]
    path.write_text(json.dumps([{"id": "first", "conversations": talk}, {"question": "And?"}]))
    return path
