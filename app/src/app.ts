// The page: a frame on a canvas, tools that draw on it, and a timeline. All that lasts is on the server.

import { About, get, Job, Pictures, post, Score, State, Task, upload } from "./server";
import { $, address, app, calls, edit, things } from "./store";
import { canvas, fit, paint, shown } from "./paint";
import { choose, list, queue } from "./panel";
import { listen, pick, TOOLS } from "./tools";
import { Timeline } from "./timeline";

// Of each task: its name, what is pressed to run it, and what is said meanwhile and before anything is done.
const TASKS: Record<Task, [string, string, string, string]> = {
  track: ["Masks", "Track", "tracking", "click on an object, or draw a box around it; then Track"],
  points: ["Points", "Follow", "following", "click where points are to be, or add a grid; then Follow"],
  parse: ["Classes", "Parse", "parsing", "Parse finds clusters; or paint classes on a frame first"],
  refer: ["Words", "Find", "finding", "write what to look for, such as the red kite; then Find"],
};
const KEYS: [string, string][] = [
  ["Click, shift-click", "on the object, beside it"], ["P O B D E F", "point, point outside, box, brush, eraser, fill"],
  ["P G H X", "of points: drop, drag, hide, remove"], ["L, Esc", "look: where a pixel looks in other frames; end it"],
  ["1 to 9, N", "object, new object"], ["Delete", "take the object off this frame"], ["T, Esc", "run, stop"],
  ["Space", "play"], ["Left, Right", "one frame; with shift ten"], ["Home, End", "first and last frame"],
  ["Page up, Page down", "frames that were given"], ["W, M", "frame with the smallest margin, middle of the widest gap"],
  ["I, U", "work from here, up to here"], ["V", "next view"], ["+ - 0", "zoom, fit"], ["[ ]", "brush smaller, larger"],
  ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo; runs too"], ["Ctrl+E", "export"], ["?", "these keys"],
];
const AWAY = "the server does not answer; nothing is lost, start it again";

const radius = $<HTMLInputElement>("radius"), view = $<HTMLSelectElement>("view"), zoom = $<HTMLInputElement>("zoom");
let timeline: Timeline;

// The frame asked for last is the one that is drawn, whatever order pictures come in.
async function show(number: number, ahead = 1): Promise<void> {
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

// Everything around the canvas, from the state.
function mark(): void {
  const { about, state, frame } = app, seconds = about.times[frame];
  $("time").textContent = `${frame} / ${about.count - 1}` + (seconds === undefined ? "" : `  ${seconds.toFixed(3)} s`);
  canvas.setAttribute("aria-label", `Frame ${frame} of ${about.label}`);
  const doing = state.doing || app.busy, status = $("status"), [, run, running, hint] = TASKS[app.task];
  const text = app.trouble || (state.doing === app.task ? `${running}: ${app.progress || `${app.scores.size} of ${about.count} frames`}`
    : doing ? `${doing}: ${app.progress || "..."}` : app.layer?.title || state.message || (state.stale ? "edited since it was run" : state.undo || state.complete ? "" : hint));
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("busy", Boolean(doing) && !app.trouble);
  const locked = Boolean(doing) || app.asking || !about.editable, given = Object.keys(state.given).length > 0;
  const asked = app.task === "refer" ? state.objects.length > 0 : given || app.task === "parse";
  const disable = (id: string, off: boolean) => { $<HTMLButtonElement>(id).disabled = off; };
  disable("undo", locked || !state.undo);
  disable("redo", locked || !state.redo);
  disable("run", locked || !asked || (state.complete && !state.stale));
  disable("estimate", locked || !asked);
  disable("export", Boolean(doing) || app.asking || !state.complete);
  disable("worst", !app.scores.size);
  disable("clear", locked);
  disable("copy", !state.command);
  $("run").textContent = run;
  $("stop").hidden = !state.doing || state.doing === "mask";
  $("play").textContent = app.playing ? "Pause" : "Play";
  for (const each of $("tools").children) each.setAttribute("aria-checked", String((each as HTMLElement).dataset.tool === app.tool));
  timeline.draw(app.task === "points" ? state.objects.filter((each) => each.id < 10000) : things());
}

function take(next: State): void { app.state = next; list(); mark(); }
function fail(error: unknown): void { app.trouble = error instanceof Error ? error.message : String(error); mark(); }

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
    await show(app.frame);
  });
  return turn;
}

function go(clip: number, task: Task): void {
  location.hash = `${clip}/${task}`;
  location.reload();
}

const given = (direction: number): void => {
  const frames = Object.keys(app.state.given).map(Number).sort((a, b) => (a - b) * direction);
  const next = frames.find((each) => (each - app.frame) * direction > 0);
  if (next !== undefined) show(next);
};

function worst(): void {
  const margins = [...app.scores].filter(([, row]) => Object.keys(row).length)
    .map(([number, row]) => [Math.min(...Object.values(row).map((each) => each[4] ? -1 : each[1])), number]);
  if (margins.length) show(margins.reduce((least, each) => each[0] < least[0] ? each : least)[1]);
}

// Where the next mask helps most, if nothing says where it is wrong.
function gap(): void {
  const [first, last] = app.state.range, frames = [first, ...Object.keys(app.state.given).map(Number), last];
  const gaps = frames.slice(1).map((each, place) => [each - frames[place], Math.floor((each + frames[place]) / 2)]);
  if (gaps.length) show(gaps.reduce((widest, each) => each[0] > widest[0] ? each : widest)[1]);
}

const pause = (): void => { if (app.playing) { clearTimeout(app.playing); app.playing = 0; show(app.frame); } };
function play(): void {
  if (app.playing) return pause();
  const { about } = app;
  const step = async () => {
    const began = performance.now(), next = app.frame + 1 < about.count ? app.frame + 1 : 0;
    const wait = next && about.times.length ? (about.times[next] - about.times[app.frame]) * 1000 : 40;
    await show(next, 4);
    if (app.playing) app.playing = setTimeout(step, Math.max(0, wait - (performance.now() - began)));
  };
  app.playing = setTimeout(step, 0);
  mark();
}

function end(): void {
  if (app.layer) { app.layer = null; list(); show(app.frame); }
  else if (!$("stop").hidden) ask(address("stop"));
}

function bind(): void {
  const step = (input: HTMLInputElement, by: number) => { input.value = String(Number(input.value) + by); };
  const part = (place: 0 | 1) => {
    const range: [number, number] = [...app.state.range];
    range[place] = app.frame;
    if (range[0] <= range[1]) edit("range", range, { object: 1 });
  };
  const press: Record<string, () => unknown> = {
    undo: () => ask(address("undo")), redo: () => ask(address("redo")), run: () => ask(address("run")), stop: () => ask(address("stop")),
    estimate: () => ask(address("estimate")), play, back: () => show(app.frame - 1), forth: () => show(app.frame + 1), worst, gap,
    export: () => ask(address("exports"), { format: $<HTMLSelectElement>("format").value, template: $<HTMLInputElement>("template").value }),
    clear: () => edit("clear"), help: () => $<HTMLDialogElement>("keys").showModal(), from: () => part(0), upto: () => part(1),
    add: () => choose(Math.max(app.task === "parse" ? -1 : 0, ...things().map((each) => each.id)) + 1),
    grid: () => edit("grid", [Number($<HTMLInputElement>("across").value)], { object: 1 }),
    copy: () => navigator.clipboard.writeText(app.state.command).then(() => { app.trouble = "the command is copied"; mark(); }, fail),
    open: () => $("file").click(),
  };
  for (const [id, action] of Object.entries(press)) $(id).onclick = () => { action(); };
  $("say").onsubmit = (event) => {
    event.preventDefault();
    const input = $<HTMLInputElement>("text"), object = 1 + Math.max(0, ...app.state.objects.map((each) => each.id));
    if (!input.value.trim()) return;
    app.object = object;
    edit("word", [], { object, text: input.value.trim() });
    input.value = "";
  };
  view.onchange = () => { show(app.frame); };
  zoom.oninput = fit;
  new ResizeObserver(() => { fit(); mark(); }).observe($("stage"));
  matchMedia("(prefers-color-scheme: dark)").onchange = mark;
  addEventListener("pagehide", () => { sessionStorage.setItem(`frame ${app.clip}`, String(app.frame)); });
  const keys: Record<string, () => unknown> = {
    " ": press.play, n: press.add, t: press.run, Escape: end, w: worst, m: gap, "?": press.help, Delete: press.clear,
    i: press.from, u: press.upto,
    ArrowLeft: press.back, ArrowRight: press.forth, Home: () => show(0), End: () => show(app.about.count - 1),
    "shift ArrowLeft": () => show(app.frame - 10), "shift ArrowRight": () => show(app.frame + 10),
    PageUp: () => given(-1), PageDown: () => given(1), "ctrl z": press.undo, "ctrl shift z": press.redo,
    "ctrl y": press.redo, "ctrl e": press.export, "[": () => step(radius, -1), "]": () => step(radius, 1),
    v: () => { view.selectedIndex = (view.selectedIndex + 1) % view.length; show(app.frame); },
    "+": () => { step(zoom, 0.5); fit(); }, "-": () => { step(zoom, -0.5); fit(); }, "0": () => { step(zoom, -9); fit(); },
  };
  for (const [name, , key] of TOOLS[app.task]) keys[key.toLowerCase()] = () => pick(name);
  for (let id = 1; id <= 9; id++) keys[id] = () => choose(id);
  document.onkeydown = (event) => {
    const target = event.target as HTMLElement, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const typed = target.closest("select, input:not([type=range])"), slid = target.closest("input") && key.length > 1 && key !== "Escape";
    if ($<HTMLDialogElement>("keys").open || typed || slid || (target.closest("button, summary") && key === " ")) return;
    const letter = key === "?" || key === "+" ? key : `${event.shiftKey ? "shift " : ""}${key}`;
    const action = keys[`${event.ctrlKey || event.metaKey ? "ctrl " : ""}${letter}`];
    const button = Object.entries(press).find(([, each]) => each === action)?.[0];
    if (!action || (button && ($<HTMLButtonElement>(button).disabled || $(button).closest("[hidden]")))) return;
    event.preventDefault();
    action();
  };
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

type News = { clip: number; task: Task; frame: number | null; scores: Record<string, Score>; done: number; total: number | null };

function follow(): void {
  const source = new EventSource("/api/events");
  const all = async () => { take(await get(address("state"))); await reload(); app.pictures.forget(null); await show(app.frame); };
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
      show(app.frame);
    }, fail);
  });
  heard("frame", (news) => {
    app.scores.set(news.frame!, news.scores);
    app.pictures.forget(news.frame);
    if (news.frame === app.frame) show(app.frame); else mark();
  });
  heard("progress", (news) => { app.progress = `${news.done}${news.total ? ` of ${news.total}` : ""} frames`; mark(); });
  heard("done", () => { app.progress = ""; all().catch(fail); });
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
  $("format").append(...Object.entries(about.tasks[task]).map(([name, line]) => option(name, name, line)));
  for (const each of document.querySelectorAll<HTMLElement>("[data-for]")) each.hidden = !each.dataset.for!.split(" ").includes(task);
  app.tool = TOOLS[task][0][0];
  $("tools").append(...TOOLS[task].map(([name, text, key]) => {
    const button = document.createElement("button");
    button.dataset.tool = name;
    button.textContent = text;
    button.title = `${text} (${key})`;
    button.setAttribute("role", "radio");
    button.disabled = !about.editable;
    button.onclick = () => pick(name);
    return button;
  }));
  $("keys").querySelector("dl")!.append(...KEYS.flatMap(([key, text]) => [
    Object.assign(document.createElement("dt"), { textContent: key }), Object.assign(document.createElement("dd"), { textContent: text }),
  ]));
}

async function begin(): Promise<void> {
  const clips = await get<string[]>("/api/clips");
  if (app.clip >= clips.length) app.clip = 0;
  app.about = await get<About>(`/api/${app.clip}/about`);
  if (!(app.task in TASKS)) app.task = app.about.opened;
  app.pictures = new Pictures(app.clip, app.task);
  app.state = await get<State>(address("state"));
  [canvas.width, canvas.height] = [app.about.width, app.about.height];
  app.object = app.state.objects[0]?.id ?? (app.task === "parse" ? 0 : 1);
  build(clips);
  timeline = new Timeline($("timeline"), show);
  Object.assign(calls, { show, mark, paint, ask, fail, list: () => { timeline.reveal(things()); list(); } });
  listen(pause);
  bind();
  if (app.about.uploads) uploads();
  list();
  await reload();
  fit();
  await show(Number(sessionStorage.getItem(`frame ${app.clip}`)) || 0);
  fit();
  follow();
}

begin().catch((error) => { $("status").textContent = error instanceof Error ? error.message : String(error); });
