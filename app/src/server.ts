// What the server says and is asked; the only place that makes requests.

export interface About {
  label: string; width: number; height: number; count: number; times: number[];
  formats: Record<string, string>; editable: boolean; out: string;
}
export interface Prompt { kind: "point" | "box"; frame: number; object: number; values: number[] }
export interface State {
  given: Record<string, number[]>; prompts: Prompt[]; objects: number[]; undo: number; redo: number; done: number;
  complete: boolean; stale: boolean; doing: string; message: string; command: string;
}
// Area, margin, mass, presence, and whether it is lost.
export type Score = [number, number, number, number, boolean | number];
export type Scores = Map<number, Record<string, Score>>;

export async function get<T>(path: string): Promise<T> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

export async function post(path: string, body: unknown = {}): Promise<State> {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

async function reason(answer: Response): Promise<string> {
  try {
    const detail = (await answer.json()).detail;
    return typeof detail === "string" ? detail : "the server cannot read that";
  } catch {
    return `the server answers ${answer.status}`;
  }
}

// Pictures by number. Frames never change and are kept, the last ones used longest; masks are asked for again.
export class Pictures {
  private kept = new Map<string, Promise<ImageBitmap | null>>();
  constructor(private room = 48) {}

  frame(number: number): Promise<ImageBitmap | null> { return this.take(`/api/frames/${number}.png`); }
  mask(number: number): Promise<ImageBitmap | null> { return this.take(`/api/masks/${number}.png`); }
  forget(number: number | null): void {
    for (const path of [...this.kept.keys()])
      if (path.includes("/masks/") && (number === null || path.endsWith(`/${number}.png`))) this.kept.delete(path);
  }

  private take(path: string): Promise<ImageBitmap | null> {
    const found = this.kept.get(path) ?? load(path);
    this.kept.delete(path);
    this.kept.set(path, found);
    found.catch(() => this.kept.delete(path));
    if (this.kept.size > this.room) this.kept.delete(this.kept.keys().next().value!);
    return found;
  }
}

async function load(path: string): Promise<ImageBitmap | null> {
  const answer = await fetch(path);
  if (answer.status === 204) return null;
  if (!answer.ok) throw new Error(await reason(answer));
  // Colours as they are in the file, whatever the screen is.
  return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}
