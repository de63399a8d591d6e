// A row for each object: where it was given, how sure the tracker is of it, and where it is lost.

import type { Scores, State } from "./server";

export const colourOf = (id: number): string => {
  // The colours of DAVIS: the bits of the number, dealt out to red, green and blue.
  const parts = [0, 0, 0];
  for (let bit = 7, rest = id; bit >= 0; bit--, rest >>= 3)
    for (let channel = 0; channel < 3; channel++) parts[channel] |= ((rest >> channel) & 1) << bit;
  return `rgb(${parts.join(" ")})`;
};

const ROW = 16, HEAD = 12, LEFT = 30;

export class Timeline {
  constructor(private canvas: HTMLCanvasElement, private count: number, seek: (frame: number) => void) {
    const at = (event: PointerEvent) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / Math.max(1, box.width - LEFT);
      seek(Math.floor(Math.min(1, Math.max(0, share)) * count));
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); at(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) at(event); });
  }

  draw(frame: number, objects: number[], state: State, scores: Scores): void {
    const { canvas, count } = this, style = getComputedStyle(canvas);
    const shown = objects.slice(0, 8), ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = HEAD + ROW * Math.max(1, shown.length);
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.setAttribute("aria-valuemax", String(count - 1));
    canvas.setAttribute("aria-valuenow", String(frame));
    canvas.setAttribute("aria-valuetext", `frame ${frame} of ${count}`);
    const pen = canvas.getContext("2d")!, step = (width - LEFT) / count;
    const place = (number: number) => LEFT + number * step;
    pen.scale(ratio, ratio);
    pen.fillStyle = style.getPropertyValue("--line");
    pen.fillRect(LEFT, HEAD / 2, width - LEFT, 1);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    shown.forEach((id, row) => {
      const top = HEAD + row * ROW, middle = top + ROW / 2;
      pen.fillStyle = style.color;
      pen.fillText(String(id), 2, middle);
      pen.fillStyle = style.getPropertyValue("--line");
      pen.fillRect(LEFT, top + ROW - 2, width - LEFT, 1);
      for (const [number, row] of scores) {
        const score = row[id];
        if (!score) continue;
        const lost = Boolean(score[4]), tall = lost ? 3 : 2 + Math.min(1, Math.max(0, score[1])) * (ROW - 6);
        // Dark colours are to be seen on a dark ground, too.
        pen.fillStyle = lost ? style.getPropertyValue("--lost") : `color-mix(in srgb, ${colourOf(id)} 75%, ${style.color})`;
        pen.globalAlpha = state.stale ? 0.45 : 1;
        pen.fillRect(place(number), top + ROW - 3 - tall, Math.max(1, step - (step > 4 ? 1 : 0)), tall);
      }
      pen.globalAlpha = 1;
      pen.fillStyle = style.color;
      for (const [number, ids] of Object.entries(state.given)) {
        if (!ids.includes(id)) continue;
        const x = place(Number(number)) + step / 2;
        pen.beginPath();
        pen.moveTo(x, middle - 5); pen.lineTo(x + 5, middle); pen.lineTo(x, middle + 5); pen.lineTo(x - 5, middle);
        pen.fill();
        pen.strokeStyle = style.getPropertyValue("--panel");
        pen.stroke();
      }
    });
    pen.fillStyle = style.getPropertyValue("--accent");
    pen.fillRect(place(frame) + step / 2 - 1, 0, 2, height);
    pen.fillRect(place(frame) + step / 2 - 4, 0, 8, 6);
  }
}
