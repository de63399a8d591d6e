// The page: a frame on a canvas, tools that draw on it, and a timeline. All that lasts is on the server.

import { About, get, Job, Pictures, post, Score, State, Task, upload } from "./server";
import { Action, bind as keys, nameOf } from "./keys";
import { $, address, app, calls, edit, recall, things } from "./store";
import { gap, given, pause, play, start, worst } from "./moves";
import { busy, fixed, refusal, TASKS } from "./reasons";
import { canvas, paint, shown } from "./paint";
import { fill, fit, listen as zooming, one, zoomBy } from "./zoom";
import { choose, list, queue } from "./panel";
import { listen, pick, TOOLS } from "./tools";
import { Timeline } from "./timeline";

// What is not an action that a key could be chosen for.
const FIXED: [string, string][] = [
  ["click; shift- or alt-click", "on the object; beside it"], ["1 to 9", "choose an object"], ["Ctrl and wheel", "zoom at the pointer"],
  ["wheel, middle button", "move the frame"],
];
const AWAY = "the server does not answer; nothing is lost: start it again, and open the address that it prints";

const radius = $<HTMLInputElement>("radius"), view = $<HTMLSelectElement>("view"), way = $<HTMLSelectElement>("way");
let timeline: Timeline;

// The frame asked for last is the one that is drawn, whatever order pictures come in.
async function show(number: number, ahead = 1, following = false): Promise<void> {
  if (!following) app.home = null;
  app.frame = Math.min(app.about.count - 1, Math.max(0, number));
  const wanted = app.frame, { pictures, layer } = app, points = app.task === "points";
  mark();
  try {
    const [image, mask, followed, soft] = await Promise.all([
      pictures.frame(wanted), points ? null : pictures.mask(wanted), points ? pictures.points(wanted) : [],
      view.value === "soft" && app.task !== "points" ? pictures.soft(wanted, app.object) : null,
    ]);
    if (wanted !== app.frame) return;
    Object.assign(shown, { image, mask, soft, points: followed ?? [], layer: null });
    paint();
    canvas.dataset.frame = String(wanted);
    if (layer && !app.playing) {
      const heat = await pictures.heat(layer.path(wanted));
      if (wanted !== app.frame || layer !== app.layer) return;
      shown.layer = heat;
      canvas.dataset.layer = String(wanted);
      paint();
    }
    for (let next = 1; next <= ahead; next++)
      if (wanted + next < app.about.count) pictures.frame(wanted + next).catch(() => null);
  } catch (error) { fail(error); }
}

// The frame that is shown, as it is now.
const again = (): Promise<void> => show(app.frame, 1, true);

// Everything around the canvas, from the state.
function mark(): void {
  const { about, state, frame } = app, seconds = about.times[frame];
  $("time").textContent = `${frame} / ${about.count - 1}` + (seconds === undefined ? "" : `  ${seconds.toFixed(3)} s`);
  canvas.setAttribute("aria-label", `Frame ${frame} of ${about.label}`);
  const doing = state.doing || app.busy, status = $("status"), [, run, running, hint] = TASKS[app.task];
  const next = state.stale ? "edited since it was run" : state.complete ? "" : !state.undo && !state.done ? hint
    : refusal("run") || `press ${run} for the other frames`;
  const text = app.trouble || (state.doing === app.task ? `${running}: ${app.progress || "starting"}`
    : doing ? `${doing}: ${app.progress || "..."}` : app.layer?.title || state.message || next);
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("busy", Boolean(doing) && !app.trouble);
  for (const id of BUTTONS) {
    const button = $(id), why = refusal(id);
    button.dataset.title ??= button.title;
    button.setAttribute("aria-disabled", String(Boolean(why)));
    button.title = why || button.dataset.title;
  }
  canvas.classList.toggle("busy", Boolean(doing) && app.tool !== "look");
  way.value = state.way ?? "";
  $("changed").hidden = !state.changed.length;
  $("run").textContent = run;
  $("stop").hidden = !state.doing || state.doing === "mask";
  $("play").textContent = app.playing ? "Pause" : "Play";
  for (const each of $("tools").children) each.setAttribute("aria-checked", String((each as HTMLElement).dataset.tool === app.tool));
  timeline.draw(app.task === "points" ? state.objects.filter((each) => each.id < 10000) : things());
}

function take(next: State): void {
  // What was done is over: the page is back where it was before it says so, and keys act on the frame that is seen.
  const home = app.state.doing === app.task && !next.doing ? app.home : null;
  app.state = next;
  if (home !== null) { app.home = null; app.frame = home; again(); }
  list();
  mark();
}
function fail(error: unknown): void { app.trouble = error instanceof Error ? error.message : String(error); mark(); }

// What is only of interest now goes away by itself, so that it hides nothing for long.
function say(text: string): void {
  app.trouble = text;
  mark();
  setTimeout(() => { if (app.trouble === text) hush(); }, 6000);
}
function hush(): void { if (app.trouble && app.trouble !== AWAY) { app.trouble = ""; mark(); } }

// Requests are made in the order in which they were asked for; only those that begin something long are not made twice.
let turn: Promise<void> = Promise.resolve();
function ask(path: string, body: unknown = {}, what = ""): Promise<void> {
  const long = /(run|exports|estimate)$/.test(path);
  if (long) app.asking = true;
  turn = turn.then(async () => {
    Object.assign(app, { busy: what, trouble: "" });
    mark();
    try {
      take(await post(path, body));
      app.pictures.forget(null);
    } catch (error) { fail(error); }
    app.busy = "";
    if (long) app.asking = false;
    await again();
  });
  return turn;
}

function go(clip: number, task: Task): void {
  location.hash = `${clip}/${task}`;
  location.reload();
}

function end(): void {
  if (app.layer) { app.layer = null; list(); again(); }
  else if (app.state.doing) { app.progress = "stopping after this step"; ask(address("stop")); }
}

// The direction that masks are carried in is chosen and begun at once.
async function track(way: string): Promise<void> {
  const why = fixed() || busy();
  if (why) { say(why); return; }
  if (app.state.way !== way) await edit("way", [], { object: 1, text: way });
  if (!app.trouble) attempt("run");
}

const press: Record<string, () => unknown> = {
  undo: () => ask(address("undo")), redo: () => ask(address("redo")), stop: end,
  run: () => { app.home = app.frame; return ask(address("run")); },
  estimate: () => ask(address("estimate")), play, back: () => show(app.frame - 1), forth: () => show(app.frame + 1), worst, gap, start,
  export: () => ask(address("exports"), { format: $<HTMLSelectElement>("format").value, template: $<HTMLInputElement>("template").value }),
  clear: () => edit("clear"), help: () => $<HTMLDialogElement>("keys").showModal(), from: () => part(0), upto: () => part(1),
  add: () => choose(Math.max(app.task === "parse" ? -1 : 0, ...things().map((each) => each.id)) + 1),
  grid: () => edit("grid", [Number($<HTMLInputElement>("across").value)], { object: 1 }),
  copy: () => copy("command"), python: () => copy("python"),
  open: () => $("file").click(), whole: fill, one,
};
const BUTTONS = Object.keys(press);

function attempt(id: string): void {
  const why = $(id).closest("[hidden]") && id !== "stop" ? "that is not of this task" : refusal(id);
  if (why) say(why); else press[id]();
}

async function copy(what: "command" | "python"): Promise<void> {
  try {
    await navigator.clipboard.writeText((await get<Record<string, string>>(address("copies")))[what]);
    say(what === "command" ? "the command is copied" : "the lines of Python are copied");
  } catch (error) { fail(error); }
}

function part(place: 0 | 1): void {
  const range: [number, number] = [...app.state.range];
  range[place] = app.frame;
  if (range[0] <= range[1]) edit("range", range, { object: 1 });
  else say(place ? `work begins on frame ${range[0]}, after this one` : `work ends on frame ${range[1]}, before this one`);
}

function bind(): void {
  for (const id of BUTTONS) $(id).onclick = () => { hush(); attempt(id); };
  const step = (by: number) => { radius.value = String(Number(radius.value) + by); };
  const next = () => { view.selectedIndex = (view.selectedIndex + 1) % view.length; again(); };
  const does = (id: string) => () => attempt(id);
  const marks = app.task === "track" || app.task === "parse";
  const actions: Action[] = [
    ...TOOLS[app.task].map(([name, text, key]): Action => [name, `tool: ${text.toLowerCase()}`, key, () => pick(name)]),
    ...(marks ? [["add", "new object", "N", does("add")], ["clear", "take the object off this frame", "Delete", does("clear")],
      ["smaller", "smaller brush", "[", () => step(-1)], ["larger", "larger brush", "]", () => step(1)]] as Action[] : []),
    ["run", TASKS[app.task][1].toLowerCase(), "T", does("run")],
    ...(app.task === "track" ? [["forward", "track forward", "Shift+F", () => track("forward")],
      ["backward", "track back", "Shift+B", () => track("back")], ["both", "track both ways", "Shift+T", () => track("both")]] as Action[] : []),
    ["stop", "stop; end a heat map", "Escape", does("stop")], ["play", "play, pause", "Space", does("play")],
    ["back", "frame before", "ArrowLeft ,", does("back")], ["forth", "next frame", "ArrowRight .", does("forth")],
    ["back10", "ten frames back", "Shift+ArrowLeft", () => show(app.frame - 10)], ["forth10", "ten frames on", "Shift+ArrowRight", () => show(app.frame + 10)],
    ["first", "first frame", "Home", () => show(0)], ["last", "last frame", "End", () => show(app.about.count - 1)],
    ["earlier", "previous keyframe", "PageUp", () => given(-1)], ["later", "next keyframe", "PageDown", () => given(1)],
    ["start", "first frame of the object", "A", does("start")], ["worst", "frame with the smallest margin, then the next", "W", does("worst")],
    ["gap", "middle of the widest gap", "M", does("gap")], ["from", "work from here", "I", does("from")], ["upto", "work up to here", "U", does("upto")],
    ["view", "next view", "V", next], ["in", "zoom in", "+ =", () => zoomBy(1.5)], ["out", "zoom out", "-", () => zoomBy(1 / 1.5)],
    ["whole", "fit the frame", "0", fill], ["one", "one pixel for one", "Z", one],
    ["undo", "undo", "Ctrl+Z", does("undo")], ["redo", "redo", "Ctrl+Shift+Z Ctrl+Y", does("redo")],
    ["export", "export", "Ctrl+E", does("export")], ["save", "is everything saved?", "Ctrl+S", () => say("everything is saved as soon as it is done")],
    ["help", "these keys", "?", does("help")],
  ];
  keys(actions, FIXED, hush);
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (!/^[1-9]$/.test(nameOf(event)) || target.closest("select, input:not([type=range]), dialog")) return;
    hush();
    const id = Number(event.key);
    if (app.task === "track" || app.task === "parse" || app.state.objects.some((each) => each.id === id)) choose(id);
    else say(`there is no ${app.task === "points" ? "point" : "object"} ${id}`);
  });
  $("say").onsubmit = (event) => {
    event.preventDefault();
    const input = $<HTMLInputElement>("text"), object = 1 + Math.max(0, ...app.state.objects.map((each) => each.id));
    const why = fixed() || busy() || (input.value.trim() ? "" : "write what to look for, such as the red kite");
    if (why) { say(why); return; }
    app.object = object;
    edit("word", [], { object, text: input.value.trim() });
    input.value = "";
  };
  view.onchange = () => { again(); };
  way.onchange = () => { way.blur(); edit("way", [], { object: 1, text: way.value }); };
  new ResizeObserver(() => mark()).observe($("stage"));
  matchMedia("(prefers-color-scheme: dark)").onchange = mark;
  addEventListener("pagehide", () => { sessionStorage.setItem(`frame ${app.clip}`, String(app.frame)); });
}

// Clips come from the disk of whoever looks at the page, by a drop or a choice.
function uploads(): void {
  const send = async (files: FileList | null) => {
    for (const file of files ?? []) {
      try {
        const clip = await upload(file, (share) => { Object.assign(app, { busy: "copying", progress: `${Math.round(100 * share)}%` }); mark(); });
        go(clip, app.task);
      } catch (error) { fail(error); }
      Object.assign(app, { busy: "", progress: "" });
    }
  };
  $<HTMLInputElement>("file").onchange = (event) => send((event.target as HTMLInputElement).files);
  document.ondragover = (event) => { event.preventDefault(); };
  document.ondrop = (event) => { event.preventDefault(); send(event.dataTransfer?.files ?? null); };
}

// Frames that are made faster than they can be shown are passed over.
let coming = false;
async function come(frame: number): Promise<void> {
  coming = true;
  await show(frame, 0, true);
  coming = false;
}

type News = { clip: number; task: Task; frame: number | null; scores: Record<string, Score>; done: number; total: number | null };

function follow(): void {
  const source = new EventSource("/api/events");
  const all = async () => { take(await get(address("state"))); await reload(); app.pictures.forget(null); await again(); };
  const heard = (name: string, does: (news: News) => void) => source.addEventListener(name, (event) => {
    const news: News = JSON.parse(event.data);
    if (news.clip === app.clip && news.task === app.task) does(news);
    if (name === "edit" || name === "done") get<Job[]>("/api/jobs").then(queue, fail);
  });
  heard("edit", (news) => {
    get<State>(address("state")).then((state) => {
      if (state.doing === app.task && !app.state.doing) app.progress = "";
      take(state);
      app.pictures.forget(news.frame);
      again();
    }, fail);
  });
  heard("frame", (news) => {
    app.scores.set(news.frame!, news.scores);
    app.pictures.forget(news.frame);
    if (news.frame === app.frame || app.home !== null && !coming) come(news.frame!); else mark();
  });
  heard("progress", (news) => { app.progress = `${news.done}${news.total ? ` of ${news.total}` : ""} frames`; mark(); });
  heard("done", () => {
    app.progress = "";
    all().then(() => { const { home } = app; app.home = null; if (home !== null) show(home); }, fail);
  });
  source.addEventListener("missed", () => { all().catch(fail); });
  source.addEventListener("hello", () => {
    if (app.trouble === AWAY) app.trouble = "";
    all().catch(fail);
    get<Job[]>("/api/jobs").then(queue, fail);
  });
  source.onerror = () => { fail(new Error(AWAY)); };
}

async function reload(): Promise<void> {
  const rows = await get<Record<string, Record<string, Score>>>(address("scores"));
  app.scores.clear();
  for (const [number, row] of Object.entries(rows)) app.scores.set(Number(number), row);
}

const option = (value: string, text: string, title = ""): HTMLOptionElement =>
  Object.assign(document.createElement("option"), { value, textContent: text, title });

function build(clips: string[]): void {
  const { about, task } = app;
  document.title = `${about.label} - undertow`;
  $("label").textContent = about.label;
  const chooser = $<HTMLSelectElement>("clip");
  chooser.hidden = clips.length < 2;
  $("label").hidden = !chooser.hidden;
  chooser.append(...clips.map((label, place) => option(String(place), label)));
  chooser.value = String(app.clip);
  chooser.onchange = () => { go(Number(chooser.value), task); };
  $("open").hidden = !about.uploads;
  $("tasks").append(...(Object.keys(TASKS) as Task[]).map((each) => {
    const tab = document.createElement("button");
    tab.textContent = TASKS[each][0];
    tab.setAttribute("aria-current", String(each === task));
    tab.onclick = () => { if (each !== task) go(app.clip, each); };
    return tab;
  }));
  $("format").append(...Object.entries(about.tasks[task]).map(([name, line]) => option(name, `${name}: ${line}`, line)));
  for (const each of document.querySelectorAll<HTMLElement>("[data-for]")) each.hidden = !each.dataset.for!.split(" ").includes(task);
  app.tool = TOOLS[task][0][0];
  $("tools").append(...TOOLS[task].map(([name, text, key]) => {
    const button = document.createElement("button");
    button.dataset.tool = name;
    button.textContent = text;
    button.title = `${text} (${key})`;
    button.setAttribute("role", "radio");
    button.setAttribute("aria-disabled", String(!about.editable));
    button.onclick = () => pick(name);
    return button;
  }));
}

async function begin(): Promise<void> {
  const clips = await get<string[]>("/api/clips");
  if (app.clip >= clips.length) app.clip = 0;
  app.about = await get<About>(`/api/${app.clip}/about`);
  if (!(app.task in TASKS)) app.task = app.about.opened;
  app.pictures = new Pictures(app.clip, app.task, app.about);
  app.state = await get<State>(address("state"));
  [canvas.width, canvas.height] = [app.about.width, app.about.height];
  app.object = app.state.objects[0]?.id ?? (app.task === "parse" ? 0 : 1);
  build(clips);
  timeline = new Timeline($("timeline"), show);
  Object.assign(calls, { show, say, mark, paint, ask, fail, list: () => { timeline.reveal(things()); list(); } });
  recall();
  listen(pause);
  bind();
  zooming();
  if (app.about.uploads) uploads();
  list();
  await reload();
  fit();
  await show(Number(sessionStorage.getItem(`frame ${app.clip}`)) || 0);
  fit();
  follow();
}

begin().catch((error) => { $("status").textContent = error instanceof Error ? error.message : String(error); });
