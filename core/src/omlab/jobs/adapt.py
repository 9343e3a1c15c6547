"""Adapt: data set + adapter(model) -> a folder that every command takes where it takes a model's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.datasets import check_split, open_dataset
from omlab.devices import describe_device
from omlab.digests import digest_of, paths_digest
from omlab.errors import UsageError
from omlab.files import write_json
from omlab.jobs.outcome import Outcome, complete_before
from omlab.jobs.running import finish, observed, stopped
from omlab.models import ADAPTED, ADAPTED_WEIGHTS, ModelRef, find_model, load_adapter
from omlab.progress import task
from omlab.roles import Dataset
from omlab.runs import open_run

CASE = "adapted"
HISTORY = "history.json"


def adapt(
    model: str | Path,
    data: str,
    *,
    adapter: str = "finetune",
    output: str | Path | None = None,
    root: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    data_settings: Mapping[str, Any] | None = None,
    model_settings: Mapping[str, Any] | None = None,
    offline: bool | None = None,
) -> Outcome:
    """Adapt a model to the `train` split of a data set.

    Args:
        model: Name of a model or folder of an adapted one.
        data: Name of a data set.
        adapter: Name of an adapter.
        output: Folder for the adapted model; by default a folder in `omlab-runs/`.
        root: Where the data set's files are.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        seed: Seed of everything random.
        settings: Values for the adapter's settings.
        data_settings: Values for the data set's settings.
        model_settings: Values for the model's settings.
        offline: True: never fetch weights.

    Raises:
        OmlabError: When it cannot be started, or the adapter fails.
    """
    adapter_card, chosen_adapter, adapter_settings = load_adapter(adapter, settings or {})
    ref = find_model(model, weights=weights, device=device, settings=model_settings, offline=offline)
    if adapter_card.capability not in ref.card.capabilities:
        able = ", ".join(ref.card.capabilities) or "none"
        raise UsageError(f"'{adapter}' needs the capability '{adapter_card.capability}', but '{ref.name}' has: {able}.")
    dataset_card, dataset, dataset_settings = open_dataset(data, root=root, settings=data_settings or {})
    check_split(dataset_card, dataset, "train")
    dataset.prepare()
    digest = dataset_digest(dataset, "train")
    request = {
        "command": "adapt",
        "model": ref.identity(),
        "adapter": {"name": adapter, "settings": adapter_settings},
        "data": {"name": data, "settings": dataset_settings, "split": "train"},
        "device": ref.device,
        "seed": seed,
    }
    final = (
        Path(output) if output is not None else Path("omlab-runs") / f"adapt-{ref.card.name}-{digest_of(request)[:8]}"
    )
    arguments = {"model": str(model), "data": data, "root": str(root or ""), "output": str(output or "")}
    run = open_run(final, kind="adapt", request=request, arguments=arguments, digests={CASE: digest})
    if run is None:
        return complete_before(final)
    with observed(run):
        run.notes.append(f"adapted on {describe_device(ref.device)}")

        def work(folder: Path) -> Mapping[str, Any]:
            adapted = chosen_adapter.fit(ref.load(), dataset, device=ref.device, seed=seed, folder=run.scratch)
            from omlab.weights import save_state_dict

            save_state_dict(dict(adapted.tensors), folder / ADAPTED_WEIGHTS)
            write_json(folder / HISTORY, list(adapted.history))
            write_json(folder / ADAPTED, _description(ref, request, adapted.config, digest))
            return dict(adapted.history[-1]) if adapted.history else {}

        case = run.attempt(CASE, digest=digest, inputs=[], work=work)
        if case.status == "failed":
            raise stopped(case.reason)
        finish(run)
    return Outcome(place=run.final, cases=run.cases)


def dataset_digest(data: Dataset, split: str) -> str:
    """One digest for all cases of a split: their ids and their files' contents."""
    ids = data.ids(split)
    digests = []
    with task("reading the data set", total=len(ids)) as advance:
        for id in ids:
            digests.append([id, paths_digest(data.files(id))])
            advance(1)
    return digest_of(digests)


def _description(ref: ModelRef, request: Mapping[str, Any], config: Mapping[str, Any], digest: str) -> dict[str, Any]:
    base = ref.description["base"] if ref.adapted else request["model"]
    return {
        "base": base,
        "adapter": request["adapter"],
        "settings": dict(ref.settings),
        "config": dict(config),
        "data": {**request["data"], "sha256": digest},
        "seed": request["seed"],
    }
