// A row for each object: its keyframes, how sure the model is of it, where it is lost or old; thumbnails above.

import { Thing } from "./server";
import { $, app, calls } from "./store";

const ROW = 16, HEAD = 12, LEFT = 70, MOST = 7;

export class Timeline {
  private first = 0;
  private strip = "";

  constructor(private canvas: HTMLCanvasElement, seek: (frame: number) => void) {
    const at = (event: PointerEvent) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / Math.max(1, box.width - LEFT);
      seek(Math.floor(Math.min(1, Math.max(0, share)) * app.about.count));
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); at(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) at(event); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.first += Math.sign(event.deltaY);
      calls.mark();
    }, { passive: false });
  }

  // Rows are few whatever the number of objects; the one that is worked on is among them when it is chosen.
  reveal(all: Thing[]): void {
    const place = all.findIndex((each) => each.id === app.object);
    if (place >= 0) this.first = Math.min(place, Math.max(this.first, place - MOST + 1));
  }

  draw(all: Thing[]): void {
    const { canvas } = this, { count } = app.about, style = getComputedStyle(canvas), ratio = window.devicePixelRatio || 1;
    this.first = Math.max(0, Math.min(this.first, all.length - MOST));
    const rows = all.slice(this.first, this.first + MOST);
    const width = canvas.clientWidth, height = HEAD + ROW * Math.max(1, rows.length), line = style.getPropertyValue("--line");
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.setAttribute("aria-valuemax", String(count - 1));
    canvas.setAttribute("aria-valuenow", String(app.frame));
    canvas.setAttribute("aria-valuetext", `frame ${app.frame} of ${count}`);
    const pen = canvas.getContext("2d")!, step = (width - LEFT) / count, place = (number: number) => LEFT + number * step;
    pen.scale(ratio, ratio);
    pen.fillStyle = line;
    pen.fillRect(LEFT, HEAD / 2, width - LEFT, 1);
    const [first, last] = app.state.part;
    pen.fillRect(LEFT, 0, place(first) - LEFT, height);
    pen.fillRect(place(last + 1), 0, width - place(last + 1), height);
    pen.fillStyle = style.getPropertyValue("--changed");
    for (const [from, to] of app.state.changed) pen.fillRect(place(from), HEAD - 4, Math.max(2, place(to + 1) - place(from)), 4);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    rows.forEach((each, row) => {
      const top = HEAD + row * ROW, middle = top + ROW / 2;
      pen.fillStyle = style.color;
      pen.fillText(short(each.name), 2, middle, LEFT - 6);
      pen.fillStyle = line;
      pen.fillRect(LEFT, top + ROW - 2, width - LEFT, 1);
      this.bars(pen, each, top, step, place, style);
      pen.globalAlpha = 1;
      pen.fillStyle = style.color;
      for (const [number, ids] of Object.entries(app.state.given)) {
        if (!ids.includes(each.id)) continue;
        const x = place(Number(number)) + step / 2;
        pen.beginPath();
        pen.moveTo(x, middle - 5); pen.lineTo(x + 5, middle); pen.lineTo(x, middle + 5); pen.lineTo(x - 5, middle);
        pen.fill();
        pen.strokeStyle = style.getPropertyValue("--panel");
        pen.stroke();
      }
    });
    pen.fillStyle = style.getPropertyValue("--accent");
    pen.fillRect(place(app.frame) + step / 2 - 1, 0, 2, height);
    pen.fillRect(place(app.frame) + step / 2 - 4, 0, 8, 6);
    this.thumbs(width);
  }

  // One bar for each column of the screen, of its worst frame.
  private bars(
    pen: CanvasRenderingContext2D, each: Thing, top: number, step: number, place: (n: number) => number, style: CSSStyleDeclaration,
  ): void {
    const columns = new Map<number, [number, boolean]>();
    for (const [number, row] of app.scores) {
      const score = row[each.id];
      if (!score) continue;
      const column = step >= 1 ? place(number) : Math.floor(place(number)), known = columns.get(column);
      columns.set(column, [Math.min(score[1], known?.[0] ?? 1), Boolean(score[4]) || Boolean(known?.[1])]);
    }
    const colour = `color-mix(in srgb, ${each.colour} 75%, ${style.color})`, lost = style.getPropertyValue("--lost");
    pen.globalAlpha = app.state.stale ? 0.45 : 1;
    for (const [x, [margin, gone]] of columns) {
      const tall = gone ? 3 : 2 + Math.min(1, Math.max(0, margin)) * (ROW - 6);
      // Dark colours are to be seen on a dark ground, too.
      pen.fillStyle = gone ? lost : colour;
      pen.fillRect(x, top + ROW - 3 - tall, Math.max(1, step - (step > 4 ? 1 : 0)), tall);
    }
  }

  private thumbs(width: number): void {
    const { count, width: across, height: down } = app.about, each = Math.max(24, 40 * across / down);
    const shown = Math.max(1, Math.min(count, Math.floor((width - LEFT) / each))), key = `${app.clip}/${shown}`;
    if (key === this.strip || !app.about.editable) return;
    this.strip = key;
    $("thumbs").replaceChildren(...Array.from({ length: shown }, (_, place) => {
      const image = document.createElement("img");
      image.alt = "";
      image.loading = "lazy";
      image.src = `/api/${app.clip}/thumbs/${Math.floor((place + 0.5) * count / shown)}.jpg`;
      return image;
    }));
  }
}

const short = (name: string): string => name.length > 12 ? `${name.slice(0, 11)}…` : name;
