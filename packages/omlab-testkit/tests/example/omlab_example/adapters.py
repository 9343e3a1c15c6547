import json

import torch

from omlab import Adapted, cases_for
from omlab.weights import read_state_dict, save_state_dict
from omlab_example.recipes import descend


class Plain:
    """Trains all weights, an epoch after the other, and keeps what moved."""

    def fit(self, base, data, *, recipe, settings, seed, folder):
        model = base.trainable()
        before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        target = model.retarget(recipe, data.about("train"), settings=settings, seed=seed)
        task = target.recipe(recipe, data, settings=settings, seed=seed)
        history = self._trained(task, folder)
        kept = {n: t for n, t in target.module.state_dict().items() if n not in before or not torch.equal(t, before[n])}
        tensors = folder / "tensors.safetensors"
        save_state_dict(kept, tensors)
        return Adapted(config=target.config(), tensors=tensors, history=history)

    def _trained(self, task, folder):
        history, place = [], folder / "history.json"
        if place.is_file():
            history = json.loads(place.read_text())
            task.module.load_state_dict(read_state_dict(folder / "state.safetensors"))
        for step in range(len(history) * task.epoch, task.steps):
            loss, _ = task.loss(task.batches(step))
            loss.backward()
            for group in task.groups():
                descend(group["params"], group["lr"])
            if (step + 1) % task.epoch == 0:
                history.append({"epoch": len(history) + 1, "loss": loss.item()})
                save_state_dict(task.module.state_dict(), folder / "state.safetensors")
                place.write_text(json.dumps(history))
        return history

    def restore(self, base, *, config, tensors):
        model = base.build(config=config, weights=None)
        stored = read_state_dict(tensors)
        known = base.trainable().module.state_dict()
        own = model.module.state_dict()
        fitting = {n: t for n, t in known.items() if n in own and own[n].shape == t.shape}
        model.module.load_state_dict({**fitting, **stored})
        return model


def load_plain(card, *, settings):
    return Plain()


class Nearest:
    """The class of the training case whose embedding is nearest."""

    def fit(self, base, data, *, recipe, settings, seed, folder):
        session = base.session()
        samples = [case.load() for case in cases_for(session, "embed", data, "train")]
        vectors = session.apply("embed", [sample.inputs for sample in samples])
        tensors = folder / "tensors.safetensors"
        save_state_dict({"vectors": torch.stack([torch.tensor(v.vector) for v in vectors])}, tensors)
        does = {"predict": {"takes": dict(session.card.does["embed"].takes), "gives": "classes"}}
        names = [sample.target.predicted[0] for sample in samples]
        return Adapted(config={"names": names}, tensors=tensors, does=does)

    def restore(self, base, *, config, tensors):
        return NearestModel(base.session(), read_state_dict(tensors)["vectors"], config["names"])


class NearestModel:
    def __init__(self, session, vectors, names):
        self.session, self.vectors, self.names = session, vectors, names

    def predict(self, batch, /):
        from omlab_payloads.classes import Classes

        known = sorted(set(self.names))
        for found in self.session.apply("embed", batch):
            near = self.names[int((self.vectors - torch.tensor(found.vector)).norm(dim=1).argmin())]
            yield Classes(names=known, probabilities=[float(name == near) for name in known])


def load_nearest(card, *, settings):
    return Nearest()
