"""Adapt: recipe x adapter on a data set -> a folder that every command takes where it takes a model's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

from omlab.adapted import ADAPTED, ADAPTED_WEIGHTS, BASE, HISTORY, NEEDS, Description
from omlab.arguments import name_of, path_of, table_of
from omlab.card_schema import RESULT, AdapterCard, ModelCard, Setting, Training, validate
from omlab.datasets import DataRef, open_dataset
from omlab.devices import describe_device, sort_of
from omlab.digests import digest_of
from omlab.errors import PluginError, UsageError
from omlab.few_shot import episodes
from omlab.files import write_json
from omlab.jobs.mapped import MappedData, training_verb
from omlab.jobs.outcome import Outcome
from omlab.jobs.ranks import Go, leading, wait_for_go
from omlab.jobs.running import at_work, finish, stopped
from omlab.models import ModelBase, ModelRef, Needs, find_card, find_model, load_adapter
from omlab.registry import registry
from omlab.roles import About, Adapted, Adapter
from omlab.runs import Run, open_run
from omlab.settings import by_home, complete, decisive
from omlab.shards import processes, rank
from omlab.suggest import did_you_mean
from omlab.surveys import Surveyed, forget
from omlab.warned import kept_by_case
from omlab.weights import LOCAL

CASE = "adapted"
SPLIT = "train"
EPISODE = {
    "shots": Setting(
        type="int", default=0, minimum=0, help="Train on so many cases of each class, drawn by the seed; 0: on all"
    )
}
"""What every adapting takes beside the settings of adapter and recipe."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """All that is to be done, found and checked."""

    ref: ModelRef
    data: DataRef
    split: str
    adapter: Adapter
    adapter_card: AdapterCard
    adapter_settings: Mapping[str, Any]
    recipe: str | None
    recipe_settings: Mapping[str, Any]
    seed: int
    mapped: Mapping[str, str]
    needs: Needs


def adapt(
    model: str | Path,
    data: str,
    *,
    adapter: str = "finetune",
    recipe: str | None = None,
    output: str | Path | None = None,
    root: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    needs: Needs | None = None,
    mapped: Mapping[str, str] | None = None,
    offline: bool | None = None,
) -> Outcome:
    """Adapt a model to the `train` split of a data set.

    Args:
        model: Name of a model or folder of an adapted one.
        data: Name of a data set, or `NAME:PATH` for own files.
        adapter: Which weights move, and how.
        recipe: What is minimised; may be left out where the model has but one.
        output: Folder for the adapted model; by default a folder in `omlab-runs/`.
        root: Where the data set's files are.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        seed: Seed of everything random.
        settings: Values by name, looked for in the adapter, then in the recipe; `model.X` and `data.X` go there. With
            `shots` so many cases of each class are drawn to train on (`omlab.episodes`).
        needs: Other models for those that the card needs.
        mapped: The model's names of inputs to the data set's, where they cannot be told.
        offline: True: never fetch weights.

    Raises:
        OmlabError: When it cannot be started, or the adapter fails.
    """
    model, adapter = name_of(model, "The model"), name_of(adapter, "The adapter")
    place = path_of(output, "The output") if output is not None else None
    plan = partial(
        _plan,
        model,
        data,
        adapter=adapter,
        recipe=recipe,
        root=root,
        weights=weights,
        device=device,
        seed=seed,
        settings=table_of(settings, "The settings"),
        needs=table_of(needs, "The needs"),
        mapped=table_of(mapped, "The names of inputs"),
        offline=offline,
    )
    if rank() > 0:
        return _follow(place, plan)
    with leading() as go:
        arguments = {"model": str(model), "data": data, "root": str(root or ""), "output": str(output or "")}
        return _lead(plan(), place, arguments, go)


def _plan(
    model: str | Path,
    data: str,
    *,
    adapter: str,
    recipe: str | None,
    root: str | Path | None,
    weights: str | Path | None,
    device: str,
    seed: int,
    settings: Mapping[str, Any],
    needs: Needs | None,
    mapped: Mapping[str, str],
    offline: bool | None,
) -> _Plan:
    adapter_card = validate(registry().get("adapter", adapter))
    assert isinstance(adapter_card, AdapterCard)
    card = find_card(model)
    recipe = choose_recipe(card, adapter_card, recipe, model=str(model))
    training = card.trains[recipe] if recipe else Training()
    homes = {
        "adapter": adapter_card.settings, "recipe": training.settings, "episode": EPISODE, "model": None, "data": None
    }  # fmt: skip
    given = by_home(settings, homes, plain=("adapter", "recipe", "episode"), own=("seed", "device", "weights"))
    shots = complete(EPISODE, given["episode"], of="an episode")["shots"]
    source = open_dataset(data, root=root, settings=given["data"])
    advice = training.defaults.get(adapter, {})
    _, chosen, adapter_settings = load_adapter(adapter, {**advice, **given["adapter"]})
    split = str(adapter_settings.get("split", SPLIT))
    source.check_split(split)
    recipe_settings = complete(training.settings, given["recipe"], of=f"the recipe '{recipe}' of '{model}'")
    source.dataset.prepare()
    about = source.dataset.about(split)
    if training.target and about.target != training.target:
        raise UsageError(
            f"The recipe '{recipe}' needs {training.target} targets, but '{data}' has {about.target or 'none'}."
        )
    if not about.cases:
        raise UsageError(f"The split '{split}' of '{data}' is empty: there is nothing to learn from.")
    if shots:
        (episode,) = episodes(source.dataset, shots, seed)
        source = replace(source, dataset=episode)
    facts = training_verb(card, recipe, adapter_card.requires)
    if facts is not None:
        seen = MappedData(source.dataset, facts, model=str(model), name=data, mapped=mapped)
        seen.about(split)  # says now where a name of --map is not there
        source = replace(source, dataset=seen)
    ref = find_model(model, weights=weights, device=device, settings=given["model"], needs=needs, offline=offline)
    return _Plan(
        ref=ref,
        data=source,
        split=split,
        adapter=chosen,
        adapter_card=adapter_card,
        adapter_settings=adapter_settings,
        recipe=recipe,
        recipe_settings=recipe_settings,
        seed=seed,
        mapped=mapped,
        needs=needs or {},
    )


def choose_recipe(card: ModelCard, adapter: AdapterCard, recipe: str | None, *, model: str) -> str | None:
    """The recipe to train with; None where the adapter needs a verb instead.

    One that needs a verb may be given a recipe that gives the same: what is to be learned is then said twice.

    Raises `UsageError` where the model lacks what the adapter requires, or the recipe must be named.
    """
    if adapter.requires != "recipe":
        if recipe is not None and _recipe_of(card, recipe, model=model).gives != adapter.gives:
            raise UsageError(
                f"The adapter '{adapter.name}' learns from what '{adapter.requires}' gives and takes no recipe: "
                "leave --recipe out."
            )
        if adapter.requires not in card.does:
            able = ", ".join(card.does) or "nothing"
            raise UsageError(
                f"'{adapter.name}' needs a model that does '{adapter.requires}', but '{model}' does {able}."
            )
        return None
    if recipe is None:
        if len(card.trains) == 1:
            return next(iter(card.trains))
        known = f"name one with --recipe: {', '.join(card.trains)}" if card.trains else "it cannot be trained"
        raise UsageError(f"'{model}' has {len(card.trains) or 'no'} recipes: {known}.")
    _recipe_of(card, recipe, model=model)
    return recipe


def _recipe_of(card: ModelCard, recipe: str, *, model: str) -> Training:
    if recipe not in card.trains:
        raise UsageError(
            f"'{model}' has no recipe '{recipe}': {did_you_mean(recipe, card.trains, none='it has none.')}"
        )
    return card.trains[recipe]


def _follow(place: Path | None, plan: Callable[[], _Plan]) -> Outcome:
    """Ranks above 0: work along in the folder that rank 0 names; what comes of it is rank 0's."""
    folder = wait_for_go()
    if folder is not None:
        try:
            planned = plan()
            _fit(planned, Surveyed(planned.data.dataset, folder=folder), folder)
        except Exception as error:  # most often because another process ended, which then says why
            raise stopped(f"Process {rank()} of {processes()} stopped: {error}") from error
    return Outcome(place=place or Path("omlab-runs"), is_whole=False)


def _lead(plan: _Plan, place: Path | None, arguments: Mapping[str, Any], go: Go) -> Outcome:
    recipe = plan.ref.card.trains[plan.recipe] if plan.recipe else None
    request = {
        "command": "adapt",
        "model": plan.ref.identity(),
        "adapter": {
            "name": plan.adapter_card.name,
            "settings": decisive(plan.adapter_card.settings, plan.adapter_settings),
        },
        "recipe": {
            "name": plan.recipe,
            "settings": decisive(recipe.settings, plan.recipe_settings) if recipe else {},
        },
        "data": plan.data.identity(plan.split) | ({"mapped": dict(plan.mapped)} if plan.mapped else {}),
        "device": sort_of(plan.ref.device),
        "seed": plan.seed,
        "processes": processes(),
    }
    final = place or Path("omlab-runs") / f"adapt-{plan.ref.card.name}-{digest_of(request)[:8]}"
    run = open_run(final, kind="adapt", request=request, arguments=arguments)
    is_done = run.is_done(CASE, {})
    if run.is_whole and is_done:
        run.close()
        return Outcome(place=run.final, log=run.log, was_complete=True)
    with at_work(run), kept_by_case(is_shown=True):
        if not is_done:
            run.note(f"adapted on {describe_device(plan.ref.device)}")
            record = run.attempt(CASE, files={}, work=lambda folder: _work(plan, run, folder, go))
            if record.status == "failed":
                forget(run.scratch)  # without a checkpoint nothing is left that another request would stumble over
                raise stopped(record.reason)
        finish(run)
    return Outcome(place=run.final, log=run.log, has_warned=not is_done)


def _fit(plan: _Plan, data: Surveyed, folder: Path) -> Adapted:
    return plan.adapter.fit(
        ModelBase(plan.ref),
        data,
        recipe=plan.recipe,
        settings=dict(plan.recipe_settings),
        seed=plan.seed,
        folder=folder,
    )


def _work(plan: _Plan, run: Run, folder: Path, go: Go) -> Mapping[str, Any]:
    data = Surveyed(plan.data.dataset, folder=run.scratch)
    if plan.recipe is not None:
        data.about(plan.split)  # the others only read what is found here
        go.work_in(run.scratch)
    adapted = _fit(plan, data, run.scratch)
    if not adapted.tensors.is_file():
        raise PluginError(
            f"The adapter '{plan.adapter_card.name}' says that it wrote {adapted.tensors}, which is not there."
        )
    adapted.tensors.replace(folder / ADAPTED_WEIGHTS)
    write_json(folder / HISTORY, list(adapted.history))
    nested = plan.ref.adapted
    if nested is not None:
        copytree(nested, folder / BASE, ignore=_hidden)
    learned = data.about(plan.split) if plan.recipe is not None else None
    described = _description(plan, adapted, needs=_kept_needs(plan, folder))
    write_json(folder / ADAPTED, replace(described, does=expecting(described.does, learned)).to_json())
    for file in adapted.files:
        file.replace(folder / file.name)
    return dict(adapted.history[-1]) if adapted.history else {}


def _kept_needs(plan: _Plan, folder: Path) -> dict[str, str]:
    """What stands for the models that the card needs: names, or copies in `folder` of adapted ones."""
    kept = {}
    for name in plan.needs:
        need = plan.ref.needs[name]
        kept[name] = need.name
        if need.adapted is not None:
            kept[name] = f"{NEEDS}/{name}"
            copytree(need.adapted, folder / kept[name], ignore=_hidden)
    return kept


def _hidden(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".")]


def _description(plan: _Plan, adapted: Adapted, *, needs: Mapping[str, str]) -> Description:
    ref = plan.ref
    local = ref.weights if ref.tag == LOCAL else None
    given = local and (local.folder or local.path())
    return Description(
        does=dict(adapted.does) if adapted.does is not None else verbs_of(ref.card, plan.recipe),
        base=ref.name if ref.adapted is None and local is None else ref.card.name,
        base_folder=BASE if ref.adapted is not None else None,
        base_weights=str(given.absolute()) if given else None,
        base_identity=ref.identity(),
        adapter=plan.adapter_card.name,
        adapter_settings=dict(plan.adapter_settings),
        recipe=plan.recipe,
        recipe_settings=dict(plan.recipe_settings),
        config=dict(adapted.config),
        settings=ref.all_settings,
        needs=needs,
        data=plan.data.identity(plan.split),
        seed=plan.seed,
    )


def expecting(does: Mapping[str, Any], about: About | None) -> dict[str, Any]:
    """Verbs of a model that was trained on such data: they expect what the surveys of its inputs say."""
    learned: dict[str, Any] = {}
    for facts in about.facts.values() if about else ():
        learned |= facts.get("expects", {})
    verbs = {}
    for verb, facts in does.items():
        kinds = {**{name: kind.removesuffix("?") for name, kind in facts["takes"].items()}, RESULT: facts["gives"]}
        found = {name: learned[kind] for name, kind in kinds.items() if kind in learned}
        verbs[verb] = {**facts, "expects": {**facts.get("expects", {}), **found}} if found else dict(facts)
    return verbs


def verbs_of(card: ModelCard, recipe: str | None) -> dict[str, Any]:
    """What a trained model does: what it did before, with what the recipe's card says that it gives now."""
    does = {name: facts.model_dump(mode="json", exclude_defaults=True) for name, facts in card.does.items()}
    gives, grids = (card.trains[recipe].gives, card.trains[recipe].grid) if recipe else ({}, {})
    for verb, kind in gives.items():
        pattern = does.get(verb) or next(iter(does.values()), None)
        if pattern is None:
            raise PluginError(
                f"The recipe '{recipe}' gives '{verb}', but the card of '{card.name}' has no verb to go by."
            )
        promised = {name: value for name, value in pattern.items() if name not in ("grid", "frame") or verb in does}
        if verb in grids and grids[verb] not in pattern["takes"]:
            raise PluginError(
                f"The recipe '{recipe}' of '{card.name}' promises '{verb}' on the grid of '{grids[verb]}', which is no "
                f"input; there are {', '.join(pattern['takes'])}."
            )
        does[verb] = promised | ({"grid": grids[verb]} if verb in grids else {}) | {"gives": kind}
    return does
