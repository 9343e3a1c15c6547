from omlab_example.model import Net


def build(case):
    return Net(classes=case["build"]["classes"]).eval()


def run(module, case, inputs):
    return {"features": module.features(inputs["signal"]), "logits": module(inputs["signal"])}


def check(case):
    for name in case:
        if name not in ("rtol", "terms", "sum"):
            raise KeyError(name)
    return {"sum": abs(sum(case["terms"]) - case["sum"])}
