"""What `omlab pulse-eval` does: chat models judged in pairs, after the tournament behind OpenMEDLab's Table 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab import FileCase, run_cases
from omlab.cli.setting_options import read_settings
from omlab.errors import SettingsError, UsageError
from omlab.files import writing
from omlab.jobs.outcome import Outcome
from omlab.roles import Report, Rows
from omlab.settings import complete
from omlab_pulse_eval.answering import answer_all, answerers, question_files
from omlab_pulse_eval.answers import AnswerSet, answer_files, read_answers
from omlab_pulse_eval.battles import Battles, battles_of, read_battles
from omlab_pulse_eval.figures import Bootstrap, Row, longer_wins, seatings_agree, tournament_figures
from omlab_pulse_eval.judging import Judged, judge_all, open_questions, replay, write_replies
from omlab_pulse_eval.parse import outcome_of, scores_of
from omlab_pulse_eval.prompts import FORMS, Form, forms_by_set, read_forms
from omlab_pulse_eval.ratings import Elo
from omlab_pulse_eval.recorded import Key, Recorded
from omlab_pulse_eval.schedule import Seats, schedule, schedule_digest
from omlab_pulse_eval.sources import (
    battle_logs,
    existing,
    fractions_of,
    read_scores,
    require_one,
)
from omlab_pulse_eval.triage import item_of, read_departments, read_triage, triage_figures
from omlab_report import csv_text
from omlab_text.judging.consent import estimate, require_consent
from omlab_text.judging.http_judge import HttpJudge
from omlab_text.judging.judges import Judge
from omlab_text.judging.opening import JudgeSettings, judge_server, open_judge, recorded_path
from omlab_text.judging.store import ReplyStore

TRIAGE, SCORES = "triage", "scores"

LOG_COLUMNS = ("item", "model_a", "model_b", "winner", "score_a", "score_b", "length_a", "length_b")


def evaluate(
    settings: Mapping[str, Any],
    *,
    output: str | Path | None = None,
    model_settings: Mapping[str, Any] | None = None,
) -> Outcome:
    """Judge answers, or rate battles judged elsewhere, as one run with a report; each set is a case.

    With `questions` the models answer these first, each set and model in a run of its own.

    ```python
    outcome = evaluate({"battles": ["battles.csv"], "rounds": 1000}, output="board")
    print(outcome.report.details["models"])
    ```

    Args:
        settings: As in `settings.toml`; what is left out has its default.
        output: The run's folder; None: one in `omlab-runs/`.
        model_settings: Of the models that answer `questions`: by `NAME.SETTING`, or `SETTING` for all.

    Raises:
        OmlabError: What was given cannot be used, or must not be asked for without consent; says where and why.
    """
    known = read_settings("omlab_pulse_eval")
    chosen = complete(known, settings, of="pulse-eval")
    if chosen["questions"]:
        chosen = _answered(chosen, output=output, model_settings=model_settings or {})
    elif model_settings:
        raise UsageError("Settings of models are for models that answer: name a file of --questions.")
    evaluation = PulseEval(chosen)
    scratch: list[Path] = []

    def measure(case: FileCase, folder: Path) -> Mapping[str, Any]:
        return {"rows": [evaluation.measure(case.id, folder=folder, scratch=scratch[0])]}

    return run_cases(
        [FileCase(id=name, files={"read": paths}) for name, paths in evaluation.cases().items()],
        measure,
        output=output,
        request={"command": "pulse-eval", "settings": {n: v for n, v in chosen.items() if known[n].affects_result}},
        kind="pulse-eval",
        arguments=chosen,
        report=evaluation.report,
        prepare=lambda run: scratch.append(run.scratch),
    )


def _answered(
    settings: Mapping[str, Any], *, output: str | Path | None, model_settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Have the models answer; gives the settings by which their answers are judged.

    Raises `OmlabError` where judging could not begin afterwards, before any model is loaded.
    """
    questions = question_files(Path(settings["questions"]))
    models = answerers([str(word) for word in settings["models"]], model_settings)
    if len(models) < 2:
        raise UsageError("A tournament needs two models or more: name those that answer with --models A,B.")
    if any(name not in settings["triage_sets"] for name in questions) and not recorded_path(settings["judge"]):
        judge_server(JudgeSettings.of(settings))
    place = Path(output) if output is not None else Path("omlab-runs") / "pulse-eval"
    answers = Path(settings["answers"]) if settings["answers"] else place.with_name(f"{place.name}-answers")
    answer_all(questions, models, answers=answers, device=settings["device"])
    return {**settings, "answers": str(answers), "models": [each.name for each in models]}


class PulseEval:
    """Judges sets of answers in pairs, or takes battles judged elsewhere; rates, ranks and reports."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        require_one(settings, ("answers", "battles", "triage", "scores"))
        self.elo = Elo(k=settings["k"], scale=settings["scale"], base=settings["base"], initial=settings["initial"])
        indices = existing(settings["indices"], what="The file of draws") if settings["indices"] else None
        self.bootstrap = Bootstrap(
            rounds=settings["rounds"], seed=settings["seed"], salt=settings["salt"], indices=indices
        )
        self.triage_sets = [str(name) for name in settings["triage_sets"]]
        self._logs = battle_logs(settings["battles"])
        self._read: dict[str, Battles] = {}
        self._sets: dict[str, AnswerSet] = {}
        self._recorded: Recorded | None = None
        self._judge: Judge | None = None
        self.forms: dict[str, Form] = dict(FORMS)
        if settings["prompts"]:
            self.forms |= read_forms(Path(settings["prompts"]))
        self._form_of = forms_by_set(settings["forms"], self.forms)

    def cases(self) -> Mapping[str, Sequence[Path]]:
        """Each set is a case; so are the triage predictions and the table of scores."""
        cases: dict[str, list[Path]] = {name: [path] for name, path in self._logs.items()}
        self._read = {name: read_battles(path) for name, path in self._logs.items()}
        more: dict[str, list[Path]] = {}
        if self.settings["answers"]:
            more |= self._open_answers(Path(self.settings["answers"]))
        if self.settings["triage"]:
            departments = self.settings["departments"]
            more[TRIAGE] = [Path(self.settings["triage"]), *([Path(departments)] if departments else [])]
            self._triage()
        if self.settings["scores"]:
            more[SCORES] = [Path(self.settings["scores"])]
            read_scores(more[SCORES][0])
        twice = sorted(set(cases) & set(more))
        if twice:
            raise UsageError(f"There are two sources for the set '{twice[0]}': rename one of them.")
        cases |= more
        tournaments = [name for name in cases if name not in (TRIAGE, SCORES)]
        if self.bootstrap.indices is not None:
            if len(tournaments) != 1:
                raise SettingsError(f"--indices are draws of one set's battles, but there are {len(tournaments)} sets.")
            cases[tournaments[0]].append(self.bootstrap.indices)
        return cases

    def measure(self, case: str, *, folder: Path, scratch: Path) -> Row:
        """The figures of one set. `folder` gets the battles with their replies; `scratch` keeps every reply at once."""
        if case in self._logs:
            return self._rate(self._read[case], name=case)
        if case == TRIAGE and self.settings["triage"]:
            return self._triage()
        if case == SCORES and self.settings["scores"]:
            columns = read_scores(Path(self.settings["scores"]))
            return {"kind": "scores", "columns": columns, "fractions": fractions_of(columns)}
        answers = self._sets[case]
        if case in self.triage_sets:
            return self._triage_of(answers)
        return self._tournament(answers, folder=folder, scratch=scratch)

    def report(self, rows: Rows, folder: Path) -> Report:
        """Leaderboard, average ranks, `report.html` and tables."""
        # The page draws figures: its imports would slow down everything else.
        from omlab_pulse_eval.board import conclude
        from omlab_pulse_eval.page import write_board

        sets = {case: dict(row) for case, (row,) in rows.items()}
        board = conclude(
            sets, settings=self.settings, rate=self._rate, battles=lambda name: self._battles(name, folder)
        )
        write_board(board, folder=folder)
        return Report(metrics=board.metrics, notes=board.notes, details=board.details)

    def _rate(self, battles: Battles, *, name: str) -> Row:
        return tournament_figures(battles, name=name, elo=self.elo, bootstrap=self.bootstrap)

    def _battles(self, name: str, folder: Path) -> Battles:
        return self._read[name] if name in self._read else read_battles(folder / "battles" / f"{name}.csv")

    def _triage(self) -> Row:
        departments = self.settings["departments"]
        codes = read_departments(Path(departments)) if departments else None
        items = read_triage(Path(self.settings["triage"]), departments=codes)
        guesses = self.settings["triage_guesses"]
        return {"kind": "triage", "models": {m: triage_figures(rows, guesses=guesses) for m, rows in items.items()}}

    def _triage_of(self, answers: AnswerSet) -> Row:
        if not all(text.strip() for text in answers.references):
            raise UsageError(f"The set '{answers.name}' is for triage, but some of its items have no reference answer.")
        models = {
            model: triage_figures(
                [item_of(text, label) for text, label in zip(texts, answers.references, strict=True)],
                guesses=self.settings["triage_guesses"],
            )
            for model, texts in answers.answers.items()
        }
        return {"kind": "triage", "models": models}

    def _open_answers(self, root: Path) -> dict[str, list[Path]]:
        asked = question_files(Path(self.settings["questions"])) if self.settings["questions"] else {}
        files = answer_files(root, models=[str(name) for name in self.settings["models"]], sets=asked)
        self._sets = {name: read_answers(name, paths, questions=asked.get(name)) for name, paths in files.items()}
        judged = [name for name in self._sets if name not in self.triage_sets]
        shared = self._open_judge(judged) if judged else []
        prompts = [Path(self.settings["prompts"])] if self.settings["prompts"] else []
        return {
            name: [*paths.values(), *([asked[name]] if asked else []), *([*shared, *prompts] if name in judged else [])]
            for name, paths in files.items()
        }

    def _open_judge(self, judged: Sequence[str]) -> list[Path]:
        """Make the judge, or say what is wrong before anything starts. Gives the files of recorded replies."""
        path = recorded_path(self.settings["judge"])
        if path is not None:
            self._recorded = Recorded(path, judge=self.settings["judge_model"])
            for case in judged:
                replay(self._sets[case], self._schedule(self._sets[case]), self._recorded, form=self._form(case))
            return list(self._recorded.files)
        self._judge = open_judge(JudgeSettings.of(self.settings))
        if isinstance(self._judge, HttpJudge):
            self._ask_for_consent(self._judge, judged)
        return []

    def _ask_for_consent(self, judge: HttpJudge, judged: Sequence[str]) -> None:
        store = self._store(None)
        questions = []
        for case in judged:
            answers = self._sets[case]
            found = open_questions(answers, self._schedule(answers), judge=judge.name, form=self._form(case))
            questions += [messages for key, messages in found.items() if store is None or store.get(key) is None]
        prices = self.settings["judge_price_in"], self.settings["judge_price_out"]
        work = estimate(
            questions, max_tokens=self.settings["judge_max_tokens"], price_in=prices[0], price_out=prices[1]
        )
        if questions:
            require_consent(work, judge.server, priced=any(prices), yes=self.settings["yes"], say="--yes")

    def _store(self, scratch: Path | None) -> ReplyStore[Key] | None:
        """Where replies are kept. Without `scratch`, before the run: None where there is no file yet."""
        path = Path(self.settings["replies"] or scratch or ".")
        path = path if path.suffix == ".jsonl" else path / "replies.jsonl"
        if scratch is None and not (self.settings["replies"] and path.is_file()):
            return None
        return ReplyStore(path, Key)

    def _form(self, name: str) -> Form:
        return self.forms[self._form_of.get(name, "open")]

    def _schedule(self, answers: AnswerSet) -> list[Seats]:
        return schedule(
            answers.models,
            items=len(answers.questions),
            per_pair=self.settings["per_pair"],
            seed=self.settings["schedule_seed"],
            blank=answers.blank,
            both_seatings=self.settings["both_seatings"],
        )

    def _tournament(self, answers: AnswerSet, *, folder: Path, scratch: Path) -> Row:
        seats, form = self._schedule(answers), self._form(answers.name)
        other = 0
        if self._recorded is not None:
            judged, other = replay(answers, seats, self._recorded, form=form)
            judge = next(iter(self._recorded.judges)) or "recorded"
        else:
            store = self._store(scratch)
            assert store is not None  # there is a scratch folder
            assert self._judge is not None  # `cases` has made it
            judged, judge = judge_all(answers, seats, judge=self._judge, store=store, form=form), self._judge.name
            path = folder / "replies" / f"{answers.name}.jsonl"
            write_replies(judged, path, set=answers.name, judge=judge)
        mode = self.settings["parse"]
        battles = battles_of(
            ((b.seats.first, b.seats.second, outcome_of(b.reply, mode=mode)) for b in judged), models=answers.models
        )
        lengths = [_lengths(answers, b.seats) for b in judged]
        self._write_log(judged, lengths, path=folder / "battles" / f"{answers.name}.csv")
        lenient = sum(scores_of(b.reply, mode="lenient") is None for b in judged)
        row = self._rate(battles, name=answers.name)
        row["longer_answer"] = longer_wins(battles, lengths)
        if self.settings["both_seatings"]:
            row["seatings_agree"] = seatings_agree(battles)
        row["judging"] = {
            "judge": judge, "form": self._form_of.get(answers.name, "open"), "parse": mode,
            "unparsed_strict": sum(scores_of(b.reply) is None for b in judged), "unparsed_lenient": lenient,
            "other_prompt": other, "blank_answers": len(answers.blank), "schedule": schedule_digest(seats),
        }  # fmt: skip
        return row

    def _write_log(self, judged: Sequence[Judged], lengths: Sequence[tuple[int, int]], *, path: Path) -> None:
        mode = self.settings["parse"]
        rows = []
        for battle, size in zip(judged, lengths, strict=True):
            seats = battle.seats
            scores = scores_of(battle.reply, mode=mode) or ("", "")
            rows.append((seats.item, seats.first, seats.second, outcome_of(battle.reply, mode=mode), *scores, *size))
        with writing("The battle log", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(csv_text(LOG_COLUMNS, rows), encoding="utf-8", newline="")


def _lengths(answers: AnswerSet, seats: Seats) -> tuple[int, int]:
    texts = answers.answers
    return len(texts[seats.first][seats.item]), len(texts[seats.second][seats.item])
