// What the server says and is asked; the only place that makes requests.

export type Task = "track" | "points" | "parse" | "refer";
export interface About {
  label: string; width: number; height: number; count: number; times: number[];
  tasks: Record<Task, Record<string, string>>; opened: Task; editable: boolean; uploads: boolean;
}
export interface Prompt { kind: "point" | "box"; frame: number; object: number; values: number[] }
export interface Finding { words: { word: string; role: string }[]; present: boolean; frame: number; contrast: number }
export interface Thing {
  id: number; name: string; colour: string; merge?: number | null; hidden?: boolean;
  frame?: number; x?: number; y?: number; finding?: Finding | null;
}
export interface State {
  given: Record<string, number[]>; prompts?: Prompt[]; objects: Thing[]; undo: number; redo: number; done: number;
  complete: boolean; stale: boolean; doing: string; message: string;
  range: [number, number]; part: [number, number]; changed: [number, number][]; way?: string;
}
export interface Job { number: number; title: string; state: string; message: string }
// Area, margin, mass, presence, and whether it is lost.
export type Score = [number, number, number, number, boolean | number];
export type Scores = Map<number, Record<string, Score>>;
// Number, place, whether it is seen, confidence, and where it was on the frames before.
export type Followed = [number, number, number, boolean, number, [number, number][]];

export async function get<T>(path: string): Promise<T> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

export async function post<T = State>(path: string, body: unknown = {}): Promise<T> {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

// A clip goes up in one piece; the server writes it down as it comes.
export function upload(file: File, step: (share: number) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/clips?name=${encodeURIComponent(file.name)}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => { step(event.loaded / event.total); };
    request.onload = () => {
      if (request.status === 200) resolve(request.response.clip);
      else reject(new Error(request.response?.detail ?? `the server answers ${request.status}`));
    };
    request.onerror = () => { reject(new Error("the clip did not arrive; drop it again")); };
    request.send(file);
  });
}

async function reason(answer: Response): Promise<string> {
  try {
    const detail = (await answer.json()).detail;
    return typeof detail === "string" ? detail : "the server cannot read that";
  } catch {
    return `the server answers ${answer.status}`;
  }
}

type Kept = Promise<ImageBitmap | Followed[] | null>;

// Bytes of pictures that are kept, as far as a few frames of a large video fit in.
const ROOM = 2 ** 28;

// Pictures by address. Frames never change and are kept, the last ones used longest; what is made of them is asked for
// again.
export class Pictures {
  private kept = new Map<string, Kept>();
  private room: number;
  constructor(private clip: number, private task: Task, { width, height }: About) {
    this.room = Math.min(48, Math.max(12, ROOM / (4 * width * height)));
  }

  frame(number: number): Promise<ImageBitmap | null> { return this.take(`/api/${this.clip}/frames/${number}.bmp`); }
  mask(number: number): Promise<ImageBitmap | null> { return this.take(this.made("masks", `${number}.png`)); }
  points(number: number): Promise<Followed[]> { return this.take(this.made("layers", `${number}`)); }
  soft(number: number, id: number): Promise<ImageBitmap | null> { return this.take(this.made("soft", `${number}/${id}.png`)); }
  heat(path: string): Promise<ImageBitmap | null> { return this.take(path); }
  forget(number: number | null): void {
    for (const path of [...this.kept.keys()])
      if (!path.includes("/frames/") && (number === null || new RegExp(`/${number}(\\D|$)`).test(path))) this.kept.delete(path);
  }

  private made(what: string, rest: string): string { return `/api/${this.clip}/${this.task}/${what}/${rest}`; }
  private take<T>(path: string): Promise<T> {
    const found = this.kept.get(path) ?? (load(path) as Kept);
    this.kept.delete(path);
    this.kept.set(path, found);
    found.catch(() => this.kept.delete(path));
    if (this.kept.size > this.room) this.kept.delete(this.kept.keys().next().value!);
    return found as Promise<T>;
  }
}

async function load(path: string): Promise<unknown> {
  const answer = await fetch(path);
  if (answer.status === 204) return null;
  if (!answer.ok) throw new Error(await reason(answer));
  if (answer.headers.get("Content-Type")?.startsWith("application/json")) return answer.json();
  // Colours as they are in the file, whatever the screen is.
  return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}
