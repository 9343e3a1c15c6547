"use strict";
// One question at a time. What stands in `label` is what the server keeps: every change is sent at once, one request
// after the other, the last state winning. Texts of prompts and answers are only ever set as textContent.

const LETTERS = "ABCDEFGHIJKL";
const RETRY_MS = 2000;
const $ = (id) => document.getElementById(id);

let token = "";
let me = null; // name, role, axes, tags, scores, deidentified
let question = null; // id, prompt, answers
let label = null; // state, ranks, scores, tags, note, seconds: answers are named "0", "1", ...
let finished = []; // ids of what this account finished
let chosen = 0; // the answer that keys move

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// --- the server

class Refused extends Error {}

async function ask(method, path, value) {
  const response = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: value === undefined ? undefined : JSON.stringify(value),
    keepalive: method === "PUT", // goes on when the page is left or loaded again
  });
  const found = await response.json();
  if (!response.ok) throw new Refused(found.error);
  return found;
}

function tell(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// --- saving

let unsaved = null; // the request that has not been answered yet
let sending = null; // the promise of all that is to be sent

function keep() {
  unsaved = { id: question.id, label: structuredClone(label) };
  $("saved").textContent = "Saving";
  sending ??= send().finally(() => { sending = null; });
  return sending;
}

async function send() {
  while (unsaved) {
    const sent = unsaved;
    try {
      await ask("PUT", "/api/label", sent);
      if (unsaved === sent) unsaved = null;
      tell("");
    } catch (error) {
      if (error instanceof Refused) {
        unsaved = null;
        $("saved").textContent = "Not saved";
        tell(error.message);
        throw error;
      }
      $("saved").textContent = "Not saved yet: the server does not answer. Trying again.";
      $("saved").classList.add("late");
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  $("saved").textContent = "Saved";
  $("saved").classList.remove("late");
}

addEventListener("beforeunload", (event) => {
  if ($("saved").classList.contains("late")) event.preventDefault();
});

let looked = performance.now();
function count() {
  const now = performance.now();
  if (label && !document.hidden) label.seconds += Math.min(now - looked, 1500) / 1000; // a tablet that slept did not look
  looked = now;
}
setInterval(count, 1000);

function changed() {
  count();
  showRanks();
  keep().catch(() => {});
}

// --- ranks: rows of answers, the best first, and the pool of those that have no rank yet

function rows() {
  const found = [];
  for (const [answer, rank] of Object.entries(label.ranks)) (found[rank - 1] ??= []).push(Number(answer));
  return found;
}

function setRows(found) {
  label.ranks = {};
  found.filter((row) => row.length).forEach((row, place) => row.forEach((answer) => { label.ranks[answer] = place + 1; }));
}

const without = (answer) => rows().map((row) => row.filter((other) => other !== answer));

function putInRow(answer, place) {
  const found = without(answer);
  (found[place] ??= []).push(answer);
  setRows(found);
  changed();
}

function putBefore(answer, place) {
  const found = without(answer);
  found.splice(place, 0, [answer]);
  setRows(found);
  changed();
}

function step(answer, direction) { // -1: better. Out of a tie into a row of its own, from that into the next row
  const place = label.ranks[answer] - 1;
  const found = rows();
  if (!(place >= 0)) return putInRow(answer, direction < 0 ? 0 : found.length);
  if (found[place].length > 1) return putBefore(answer, direction < 0 ? place : place + 1);
  const next = place + direction;
  if (next >= 0 && next < found.length) putInRow(answer, next);
}

// --- what is shown

function letter(answer) {
  const chip = make("button", { type: "button", className: "chip", textContent: LETTERS[answer] });
  chip.dataset.answer = answer;
  chip.setAttribute("aria-label", `Answer ${LETTERS[answer]}, ${label.ranks[answer] ? `rank ${label.ranks[answer]}` : "not ranked"}`);
  chip.classList.toggle("chosen", answer === chosen);
  return chip;
}

function row(answers, place) {
  const shown = make("div", { className: place === null ? "row pool" : "row" });
  shown.append(make("span", { className: "place", textContent: place === null ? "Not ranked" : place + 1 }), ...answers.map(letter));
  if (place !== null) shown.dataset.row = place;
  return shown;
}

function gap(place, isLast) {
  const shown = make("div", { className: isLast ? "gap last" : "gap", textContent: isLast ? "new row" : "" });
  shown.dataset.gap = place;
  return shown;
}

function showRanks() {
  const found = rows();
  const open = question.answers.map((_, answer) => answer).filter((answer) => !(answer in label.ranks));
  const parts = open.length ? [row(open, null)] : [];
  found.forEach((answers, place) => parts.push(gap(place, false), row(answers, place)));
  const focused = document.activeElement?.dataset?.answer;
  $("ranks").replaceChildren(...parts, gap(found.length, true));
  if (focused !== undefined) $("ranks").querySelector(`[data-answer="${focused}"]`)?.focus();
  $("missing").textContent = open.length ? `${open.length} of ${question.answers.length} have no rank yet.` : "";
  $("done").disabled = open.length > 0;
  document.querySelectorAll(".answer").forEach((card, answer) => {
    card.classList.toggle("chosen", answer === chosen);
    card.querySelector("h3 span").textContent = label.ranks[answer] ? `rank ${label.ranks[answer]}` : "";
  });
}

function scoresOf(answer) {
  const [least, best] = me.scores;
  return make("div", { className: "scores" }, ...me.axes.map((axis) => {
    const select = make("select", {}, make("option", { value: "", textContent: "–" }));
    for (let score = best; score >= least; score -= 1) select.append(make("option", { value: score, textContent: score }));
    select.value = label.scores[answer]?.[axis] ?? "";
    select.addEventListener("change", () => {
      const given = (label.scores[answer] ??= {});
      if (select.value) given[axis] = Number(select.value);
      else delete given[axis];
      changed();
    });
    return make("label", {}, axis, select);
  }));
}

function tagsOf(answer) {
  return make("div", { className: "tags" }, ...me.tags.map((tag) => {
    const button = make("button", { type: "button", textContent: tag });
    const show = () => button.setAttribute("aria-pressed", String(Boolean(label.tags[answer]?.includes(tag))));
    button.addEventListener("click", () => {
      const given = label.tags[answer] ?? [];
      label.tags[answer] = given.includes(tag) ? given.filter((other) => other !== tag) : [...given, tag];
      show();
      changed();
    });
    show();
    return button;
  }));
}

function cardOf(text, answer) {
  const card = make("article", { className: "answer" },
    make("h3", {}, LETTERS[answer], make("span", {})),
    make("div", { className: "text", textContent: text }), scoresOf(answer), tagsOf(answer));
  card.addEventListener("click", () => choose(answer));
  return card;
}

function choose(answer) {
  chosen = answer;
  showRanks();
}

function show(found) {
  ({ question, label, finished } = found);
  $("labelling").hidden = !question;
  $("saved").textContent = "";
  if (!question) {
    label = null;
    tell(`There is nothing to label for you now. Finished: ${finished.length}.`);
    return;
  }
  tell("");
  $("area").textContent = [question.area, question.disease].filter(Boolean).join(", ");
  $("area").hidden = !$("area").textContent;
  $("prompt").replaceChildren(...question.prompt.map((turn) => make("div", { className: "turn" },
    make("div", { className: "role", textContent: turn.role }), make("div", { className: "text", textContent: turn.content }))));
  $("answers").replaceChildren(...question.answers.map(cardOf));
  $("note").value = label.note;
  $("back").disabled = before() === undefined;
  $("who").textContent = `${me.name}, ${me.role}. Finished: ${finished.length}`;
  chosen = 0;
  looked = performance.now();
  showRanks();
  scrollTo(0, 0);
}

// --- from question to question

let isMoving = false;

async function move(path, value) {
  if (isMoving) return;
  isMoving = true;
  try {
    if (sending) await sending;
    show(await ask("POST", path, value));
  } catch (error) {
    tell(error instanceof Refused ? error.message : "The server does not answer. Try again.");
  } finally {
    isMoving = false;
  }
}

async function finish(state) {
  if (isMoving || !question || (state === "done" && $("done").disabled)) return;
  count();
  const former = label.state;
  label.state = state;
  try {
    await keep();
  } catch { // the reason is shown
    label.state = former;
    return;
  }
  await move("/api/next", {});
}

function before() { // what was finished before this question, in the order of the questions
  const place = finished.indexOf(question.id);
  return place < 0 ? finished.at(-1) : finished[place - 1];
}

// --- drag, by mouse, finger or pen; a letter that is not moved is chosen, and goes where is tapped next

function target(x, y) {
  return document.elementFromPoint(x, y)?.closest("[data-row], [data-gap]");
}

function drop(answer, place) {
  if (place?.dataset.row !== undefined) putInRow(answer, Number(place.dataset.row));
  else if (place?.dataset.gap !== undefined) putBefore(answer, Number(place.dataset.gap));
}

$("ranks").addEventListener("pointerdown", (event) => {
  const chip = event.target.closest(".chip");
  if (!chip || event.button !== 0) return;
  const answer = Number(chip.dataset.answer);
  let ghost = null;
  let over = null;
  const follow = (moved) => {
    if (!ghost && Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) < 6) return;
    if (!ghost) {
      ghost = chip.cloneNode(true);
      ghost.classList.add("ghost");
      chip.classList.add("dragged");
      document.body.append(ghost);
    }
    ghost.style.transform = `translate(${moved.clientX - 22}px, ${moved.clientY - 22}px)`;
    over?.classList.remove("over");
    over = target(moved.clientX, moved.clientY);
    over?.classList.add("over");
  };
  const end = (ended) => {
    chip.removeEventListener("pointermove", follow);
    chip.removeEventListener("pointerup", end);
    chip.removeEventListener("pointercancel", end);
    over?.classList.remove("over");
    ghost?.remove();
    chip.classList.remove("dragged");
    chosen = answer;
    if (ghost && ended.type === "pointerup") drop(answer, target(ended.clientX, ended.clientY));
    showRanks();
  };
  chip.setPointerCapture(event.pointerId);
  chip.addEventListener("pointermove", follow);
  chip.addEventListener("pointerup", end);
  chip.addEventListener("pointercancel", end);
});
$("ranks").addEventListener("click", (event) => {
  const chip = event.target.closest(".chip");
  if (chip) choose(Number(chip.dataset.answer));
  else drop(chosen, event.target.closest("[data-row], [data-gap]"));
});

// --- keys

addEventListener("keydown", (event) => {
  if (!question) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    finish("done");
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, select")) return;
  const answers = question.answers.length;
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    choose((chosen + (event.key === "ArrowRight" ? 1 : answers - 1)) % answers);
    document.querySelectorAll(".answer")[chosen].scrollIntoView({ block: "nearest" });
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    step(chosen, event.key === "ArrowUp" ? -1 : 1);
  } else if (/^[1-9]$/.test(event.key)) {
    putInRow(chosen, Math.min(Number(event.key) - 1, rows().length));
  } else {
    return;
  }
  event.preventDefault();
});

$("note").addEventListener("input", () => { label.note = $("note").value; changed(); });
$("done").addEventListener("click", () => finish("done"));
$("skip").addEventListener("click", () => finish("skipped"));
$("escalate").addEventListener("click", () => finish("escalated"));
$("back").addEventListener("click", () => move("/api/open", { id: before() }));

// --- the overview of an admin

function table(element, head, lines) {
  const cells = (tag, line) => line.map((cell, place) => make(tag, { className: place ? "number" : "", textContent: cell }));
  element.replaceChildren(
    make("thead", {}, make("tr", {}, ...cells("th", head))),
    make("tbody", {}, ...lines.map((line) => make("tr", {}, ...cells("td", line)))));
}

async function showOverview() {
  const found = await ask("GET", "/api/overview");
  const figure = (value) => (value === null ? "–" : value.toFixed(3));
  $("overview").hidden = false;
  $("progress").textContent = `${found.labelled} of ${found.questions} questions are labelled. ` +
    `${found.disputed} were escalated or are disputed, ${found.settled} of these are settled.`;
  table($("accounts"), ["Account", "Done", "Skipped", "Escalated", "Seconds each"], found.accounts.map((one) =>
    [`${one.name} (${one.role})`, one.done, one.skipped, one.escalated, one.seconds === null ? "–" : one.seconds.toFixed(0)]));
  const agreed = found.agreement;
  table($("agreement"), [`Over ${agreed.questions} questions that two annotators labelled`, ""], [
    ["Kendall's tau-b of the rankings, mean", figure(agreed.tau)],
    ["Krippendorff's alpha of the ranks (ordinal)", figure(agreed.ranks)],
    ...Object.entries(agreed.scores).map(([axis, value]) => [`Krippendorff's alpha of the scores (interval): ${axis}`, figure(value)]),
  ]);
}
$("again").addEventListener("click", () => showOverview().catch((error) => tell(error.message)));

// --- the token: it comes behind '#', which no request carries, and stays in this tab

async function start() {
  if (location.hash.length > 1) {
    sessionStorage.setItem("token", location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }
  token = sessionStorage.getItem("token") ?? "";
  try {
    me = await ask("GET", "/api/me");
  } catch (error) {
    tell(error instanceof Refused ? error.message : "The server does not answer. Load the page again.");
    return;
  }
  $("who").textContent = `${me.name}, ${me.role}`;
  $("privacy").textContent = me.deidentified
    ? "Texts went through the de-identification of this labelling. Tell the admin where one still names a patient."
    : "Texts are shown as they were read: nothing took names out. Do not go on where one names a patient: tell the admin.";
  if (me.role === "admin") await showOverview();
  else await move("/api/next", {});
}

start();
addEventListener("hashchange", () => location.reload()); // another account's link in the same tab
