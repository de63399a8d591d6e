// The side of the page: objects, what can be done with the one that is chosen, and the queue.

import { Job, post, Thing } from "./server";
import { $, address, app, calls, edit, isHidden, remember, things } from "./store";
import { busy, fixed } from "./reasons";

// As many rows as a person looks through; a grid has more points than that.
const MOST = 300;
const ROLES: Record<string, string> = { kept: "counts", stop: "stop word", place: "a place", outside: "not of what is named" };

function button(text: string, label: string, press: () => void, on?: boolean): HTMLButtonElement {
  const made = document.createElement("button");
  made.textContent = text;
  made.title = label;
  made.setAttribute("aria-label", label);
  if (on !== undefined) made.setAttribute("aria-pressed", String(on));
  made.onclick = press;
  return made;
}

function flip(set: Set<number>, id: number): void { if (!set.delete(id)) set.add(id); looked(); }
function looked(): void { remember(); calls.list(); calls.paint(); }

function row(each: Thing): HTMLElement {
  const item = document.createElement("li"), name = document.createElement("button"), colour = document.createElement("i");
  const called = each.name;
  colour.style.background = each.colour;
  name.append(colour, Object.assign(document.createElement("span"), { textContent: called }));
  name.title = called;
  name.setAttribute("role", "radio");
  name.setAttribute("aria-checked", String(each.id === app.object));
  name.onclick = () => choose(each.id);
  item.append(name);
  if (app.task === "points") {
    item.append(button(each.hidden ? "○" : "●", `${each.hidden ? "Show" : "Hide"} ${called}`, () => { choose(each.id); edit("hide"); }));
    return item;
  }
  item.append(
    button(isHidden(each.id) ? "○" : "●", `${isHidden(each.id) ? "Show" : "Hide"} ${called}`, () => { app.solo = -1; flip(app.hidden, each.id); }),
    button("S", `Show ${called} alone`, () => { app.solo = app.solo === each.id ? -1 : each.id; looked(); }, app.solo === each.id),
  );
  if (app.task !== "refer") item.append(button("L", `Lock ${called}`, () => flip(app.locked, each.id), app.locked.has(each.id)));
  return item;
}

export function choose(id: number): void {
  app.object = id;
  if (app.layer?.path(0).includes("/heat/")) app.layer = null;
  calls.list();
  calls.mark();
}

export function list(): void {
  const all = things();
  $("objects").replaceChildren(...all.slice(0, MOST).map(row));
  const chosen = all.find((each) => each.id === app.object);
  if (!$("chosen").contains(document.activeElement)) $("chosen").replaceChildren(...(chosen ? details(chosen) : []));
}

function details(each: Thing): HTMLElement[] {
  const locked = !app.about.editable, parts: HTMLElement[] = [];
  if (app.task === "track" || app.task === "parse") {
    const name = Object.assign(document.createElement("input"), { value: each.name, maxLength: 100, disabled: locked });
    name.setAttribute("aria-label", "Name");
    name.onchange = () => { name.blur(); edit("name", [], { text: name.value }); };
    parts.push(name);
  }
  if (app.task === "parse") {
    const colour = Object.assign(document.createElement("input"), { type: "color", value: each.colour, disabled: locked });
    colour.setAttribute("aria-label", "Colour");
    colour.onchange = () => { colour.blur(); edit("colour", [], { text: colour.value }); };
    const into = document.createElement("select");
    into.setAttribute("aria-label", "Merge into");
    into.append(...app.state.objects.map((other) => {
      const text = other.id === each.id ? "its own" : `into ${other.name}`;
      return Object.assign(document.createElement("option"), { value: String(other.id), textContent: text, selected: other.id === (each.merge ?? each.id) });
    }));
    into.disabled = locked || !app.state.complete;
    into.title = fixed() || (into.disabled ? "classes are merged once all frames are parsed" : "");
    into.onchange = () => { into.blur(); edit("merge", [Number(into.value)]); };
    parts.push(colour, into);
  }
  if (app.task === "refer") parts.push(...words(each));
  const gone = { track: "delete", points: "remove", refer: "delete", parse: "" }[app.task];
  if (gone) parts.push(button("Delete", `Delete ${each.name}`, () => { const why = fixed() || busy(); if (why) calls.say(why); else edit(gone); }));
  return parts;
}

// The words of a text, each of which shows where it looks.
function words(each: Thing): HTMLElement[] {
  const line = document.createElement("p"), found = each.finding;
  const said = found ? found.words : each.name.split(/\s+/).map((word) => ({ word, role: "" }));
  line.className = "words";
  const chip = (text: string, place: number, role: string) => {
    const path = address(`heat/FRAME/${each.id}/${place}.png`), on = app.layer?.path(0) === path.replace("FRAME", "0");
    const made = button(text, `Where "${text}" looks${role ? ` (${ROLES[role] ?? role})` : ""}`, () => {
      app.layer = on ? null : { title: `where "${text}" looks; Esc ends it`, path: (frame) => path.replace("FRAME", String(frame)) };
      calls.list();
      calls.show(app.frame, 1, true);
    }, on);
    if (role && role !== "kept") made.className = "left";
    return made;
  };
  line.append(...said.map((one, place) => chip(one.word, place, one.role)), chip("all", -1, ""));
  const verdict = document.createElement("p");
  if (found) verdict.textContent = found.present ? `seen best on frame ${found.frame}, contrast ${found.contrast.toFixed(2)}` : "not found";
  return [line, verdict];
}

export function queue(jobs: Job[]): void {
  const open = jobs.filter((job) => job.state === "waiting" || job.state === "running");
  $("queue-count").textContent = open.length ? String(open.length) : "";
  $("jobs").replaceChildren(...jobs.slice(-12).reverse().map((job) => {
    const item = document.createElement("li"), text = document.createElement("span");
    text.textContent = `${job.title}: ${job.state}`;
    text.title = job.message;
    item.append(text);
    if (open.includes(job))
      item.append(button("×", `Cancel ${job.title}`, () => { post<Job[]>(`/api/jobs/${job.number}/stop`).then(queue, calls.fail); }));
    return item;
  }));
}
