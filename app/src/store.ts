// What the page knows, and the few things that all of its parts call.

import { About, Pictures, Scores, State, Task, Thing } from "./server";

export type Tool = "point" | "outside" | "box" | "brush" | "erase" | "fill" | "drop" | "drag" | "hide" | "remove" | "look";
export type Point = [number, number];

export const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

// The address names the clip and the task: a page that is opened again shows the same.
const [clip, task] = location.hash.slice(1).split("/");

export const app = {
  clip: Number(clip) || 0, task: (task || "") as Task,
  about: null as unknown as About, state: null as unknown as State, pictures: null as unknown as Pictures,
  scores: new Map() as Scores,
  // While frames are made they are shown as they come; this is the frame to go back to, unless a person goes elsewhere.
  home: null as number | null,
  frame: 0, object: 1, tool: "point" as Tool, playing: 0, busy: "", asking: false, trouble: "", progress: "",
  hidden: new Set<number>(), locked: new Set<number>(), solo: -1,
  // A map over each frame, such as where a pixel looks, and what it is called.
  layer: null as null | { title: string; path: (frame: number) => string },
  stroke: [] as number[], start: null as Point | null, corner: null as Point | null,
};

export const calls = {
  show: async (_frame: number, _ahead?: number, _following?: boolean): Promise<void> => {}, say: (_text: string): void => {}, mark: (): void => {}, list: (): void => {}, paint: (): void => {},
  ask: async (_path: string, _body?: unknown, _busy?: string): Promise<void> => {}, fail: (_error: unknown): void => {},
};

export const address = (path: string): string => `/api/${app.clip}/${app.task}/${path}`;
export const things = (): Thing[] => {
  const known = app.state.objects;
  if (app.task !== "track" && app.task !== "parse" || known.some((each) => each.id === app.object)) return known;
  const fresh = { id: app.object, name: `${app.task === "track" ? "Object" : "class"} ${app.object}`, colour: davis(app.object) };
  return [...known, fresh].sort((a, b) => a.id - b.id);
};
export const colourOf = (id: number): string => app.state.objects.find((each) => each.id === id)?.colour ?? davis(id);
export const nameOf = (id: number): string => things().find((each) => each.id === id)?.name ?? `object ${id}`;
export const isHidden = (id: number): boolean => app.solo >= 0 ? id !== app.solo : app.hidden.has(id);

// What is hidden, shown alone and locked is of this tab: a page that is opened again shows the same.
const LOOKS = (): string => `looks ${app.clip}/${app.task}`;
export function remember(): void {
  sessionStorage.setItem(LOOKS(), JSON.stringify([[...app.hidden], [...app.locked], app.solo]));
}
export function recall(): void {
  const [hidden, locked, solo] = JSON.parse(sessionStorage.getItem(LOOKS()) ?? "[[],[],-1]");
  Object.assign(app, { hidden: new Set(hidden), locked: new Set(locked), solo });
}

const CHANGES = ["point", "box", "brush", "erase", "fill", "clear", "delete"];

export async function edit(kind: string, values: number[] = [], more: { object?: number; text?: string } = {}): Promise<void> {
  const { frame, object, locked } = app;
  if (CHANGES.includes(kind) && locked.has(object)) {
    calls.say(`${nameOf(object)} is locked; press L beside its name to change it`);
    return;
  }
  const body = { kind, frame, object, values, locked: [...locked].filter((id) => id !== object), ...more };
  return calls.ask(address("edits"), body, kind === "point" || kind === "box" ? "making a mask" : "");
}

// The colours of DAVIS: the bits of the number, dealt out to red, green and blue.
function davis(id: number): string {
  const parts = [0, 0, 0];
  for (let bit = 7, rest = id; bit >= 0; bit--, rest >>= 3)
    for (let channel = 0; channel < 3; channel++) parts[channel] |= ((rest >> channel) & 1) << bit;
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
