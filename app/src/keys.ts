// What keys do. Each action has keys of its own that a person can change; they are kept in a cookie, which, unlike other
// stores of a browser, is the same on every port.

import { $ } from "./store";

// What it is called in the store, what it does in words, its keys, and what it does.
export type Action = [id: string, text: string, keys: string, does: () => unknown];

const COOKIE = "undertow-keys";
const dialog = $<HTMLDialogElement>("keys"), said = $("keys-said");
let actions: Action[] = [];
let own: Record<string, string> = read();
let waiting: HTMLButtonElement | null = null;

function read(): Record<string, string> {
  const found = document.cookie.split("; ").find((each) => each.startsWith(`${COOKIE}=`));
  try {
    const kept: unknown = JSON.parse(decodeURIComponent(found!.slice(COOKIE.length + 1)));
    return Object.fromEntries(Object.entries(kept as object).filter(([, keys]) => typeof keys === "string"));
  } catch {
    return {};
  }
}

function keep(): void {
  const age = Object.keys(own).length ? 400 * 24 * 3600 : 0;
  document.cookie = `${COOKIE}=${encodeURIComponent(JSON.stringify(own))}; max-age=${age}; samesite=strict; path=/`;
}

const keysOf = ([id, , keys]: Action): string[] => (own[id] ?? keys).split(" ").filter(Boolean);
const taken = (name: string): Action | undefined => actions.find((each) => keysOf(each).includes(name));
const shown = (keys: string[]): string => keys.map((key) => key.replace("Arrow", "")).join(", ") || "none";

// Letters are named as they stand on keys, other characters as what they are, whatever has to be pressed for them.
export function nameOf(event: KeyboardEvent): string {
  const { key } = event, letter = key.toUpperCase() !== key.toLowerCase();
  if (key === "Shift" || key === "Control" || key === "Alt" || key === "Meta") return "";
  const held = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey && letter ? "Shift+" : ""}`;
  return held + (key === " " ? "Space" : key.length === 1 ? key.toUpperCase() : key);
}

export function bind(all: Action[], fixed: [string, string][], heard: () => void): void {
  actions = all;
  document.onkeydown = (event) => {
    const target = event.target as HTMLElement, name = nameOf(event);
    const typed = target.closest("select, input:not([type=range])");
    const slid = target.closest("input") && event.key.length > 1 && event.key !== "Escape";
    if (dialog.open || typed || slid || (target.closest("button, summary") && name === "Space")) return;
    const action = taken(name);
    if (!action) return;
    event.preventDefault();
    heard();
    action[3]();
  };
  // Captured, as the dialog would be closed by Escape.
  dialog.addEventListener("keydown", (event) => {
    if (!waiting) return;
    const name = nameOf(event), id = waiting.dataset.action!;
    if (!name || event.key === "Tab") return;
    event.preventDefault();
    event.stopPropagation();
    if (name !== "Escape") change(id, name);
    waiting = null;
    list(fixed);
    dialog.querySelector<HTMLElement>(`[data-action="${id}"]`)?.focus();
  }, true);
  $("keys-reset").onclick = () => { own = {}; keep(); said.textContent = "all keys are as they were delivered"; list(fixed); };
  dialog.onclose = () => { waiting = null; said.textContent = ""; };
  list(fixed);
}

function change(id: string, name: string): void {
  const action = actions.find((each) => each[0] === id)!, other = taken(name);
  if (/^[1-9]$/.test(name)) { said.textContent = `${name} chooses an object; press another key`; return; }
  if (other && other !== action) own[other[0]] = keysOf(other).filter((each) => each !== name).join(" ");
  own[id] = name;
  keep();
  said.textContent = other && other !== action ? `${shown([name])} does this now; "${other[1]}" has ${keysOf(other).length ? shown(keysOf(other)) : "no key"}` : "";
}

function list(fixed: [string, string][]): void {
  const word = (tag: string, text: string) => Object.assign(document.createElement(tag), { textContent: text });
  dialog.querySelector("dl")!.replaceChildren(
    ...fixed.flatMap(([keys, text]) => [word("dt", text), word("dd", keys)]),
    ...actions.flatMap((action) => {
      const button = word("button", shown(keysOf(action))) as HTMLButtonElement, cell = document.createElement("dd");
      button.dataset.action = action[0];
      button.setAttribute("aria-label", `${action[1]}: ${button.textContent}; change`);
      button.onclick = () => { list(fixed); waiting = dialog.querySelector(`[data-action="${action[0]}"]`)!; waiting.textContent = "press a key"; waiting.focus(); };
      cell.append(button);
      return [word("dt", action[1]), cell];
    }),
  );
}
