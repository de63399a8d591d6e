// The canvas: a frame, what is made of it, and what is being drawn.

import { Followed } from "./server";
import { $, app, colourOf, isHidden } from "./store";

export const canvas = $<HTMLCanvasElement>("canvas");
const pen = canvas.getContext("2d", { willReadFrequently: true })!;
const radius = $<HTMLInputElement>("radius"), view = $<HTMLSelectElement>("view");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export const shown = {
  image: null as ImageBitmap | null, mask: null as ImageBitmap | null, layer: null as ImageBitmap | null,
  soft: null as ImageBitmap | null, points: [] as Followed[],
};

export function paint(): void {
  const { image, layer } = shown, how = view.value;
  const mask = how === "soft" ? shown.soft : shown.mask && visible(shown.mask);
  pen.globalCompositeOperation = "source-over";
  pen.globalAlpha = 1;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (how === "matte" || how === "soft") {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (mask) pen.drawImage(mask, 0, 0);
  } else if (how === "cutout" && mask && image) {
    pen.drawImage(mask, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.drawImage(image, 0, 0);
    pen.globalCompositeOperation = "source-over";
  } else if (image) {
    pen.drawImage(image, 0, 0);
    const flash = how === "flicker" && (calm.matches || Math.floor(performance.now() / 400) % 2 === 0);
    pen.globalAlpha = 0.5;
    if (mask && (how === "overlay" || flash)) pen.drawImage(mask, 0, 0);
    pen.globalAlpha = 1;
  }
  if (layer && app.layer) pen.drawImage(layer, 0, 0);
  if (how !== "plain") { points(); prompts(); }
  drawing();
}
setInterval(() => { if (view.value === "flicker") paint(); }, 400);

// A mask without the objects that are not to be seen, by their colours.
function visible(mask: ImageBitmap): CanvasImageSource {
  const closed = new Set(app.state.objects.filter((each) => isHidden(each.id)).map((each) => each.colour));
  if (!closed.size) return mask;
  const copy = Object.assign(document.createElement("canvas"), { width: mask.width, height: mask.height });
  const brush = copy.getContext("2d")!;
  brush.drawImage(mask, 0, 0);
  const pixels = brush.getImageData(0, 0, mask.width, mask.height), data = pixels.data;
  const codes = new Set([...closed].map((colour) => parseInt(colour.slice(1), 16)));
  for (let i = 0; i < data.length; i += 4)
    if (data[i + 3] && codes.has(data[i] << 16 | data[i + 1] << 8 | data[i + 2])) data[i + 3] = 0;
  brush.putImageData(pixels, 0, 0);
  return copy;
}

export const scale = (): number => canvas.width / Math.max(1, canvas.clientWidth);

function dot(x: number, y: number, size: number, fill: string | null, edge: string): void {
  pen.beginPath();
  pen.arc(x, y, size, 0, 7);
  if (fill) { pen.fillStyle = fill; pen.fill(); }
  pen.strokeStyle = edge;
  pen.stroke();
}

// Points that are followed, with tails; open where they are hidden. Where nothing is followed yet, what is asked for.
function points(): void {
  if (app.task !== "points") return;
  const unit = scale(), followed = new Set(shown.points.map(([id]) => id));
  const hidden = new Set(app.state.objects.filter((each) => each.hidden).map((each) => each.id));
  pen.lineWidth = 1.5 * unit;
  for (const [id, x, y, seen, , tail] of shown.points) {
    if (hidden.has(id) || isHidden(id)) continue;
    const colour = colourOf(id);
    pen.strokeStyle = colour;
    pen.beginPath();
    tail.forEach(([left, top], place) => place ? pen.lineTo(left, top) : pen.moveTo(left, top));
    if (seen) pen.stroke();
    dot(x, y, (id === app.object ? 6 : 4) * unit, seen ? colour : null, id === app.object ? "#fff" : seen ? "#000a" : colour);
  }
  for (const each of app.state.objects)
    if (each.frame === app.frame && !each.hidden && (!followed.has(each.id) || app.state.stale))
      dot(each.x!, each.y!, 4.5 * unit, each.colour, each.id === app.object ? "#fff" : "#000");
}

function prompts(): void {
  const unit = scale();
  for (const each of app.state.prompts ?? []) {
    if (each.frame !== app.frame || isHidden(each.object)) continue;
    const [x, y, more, last] = each.values;
    pen.lineWidth = 1.5 * unit;
    if (each.kind === "point") { dot(x, y, 4.5 * unit, more ? colourOf(each.object) : "#d00", "#fff"); continue; }
    pen.strokeStyle = "#fff";
    pen.strokeRect(x, y, more - x, last - y);
    pen.strokeStyle = colourOf(each.object);
    pen.setLineDash([4 * unit, 3 * unit]);
    pen.strokeRect(x, y, more - x, last - y);
    pen.setLineDash([]);
  }
}

// What the pointer is drawing.
function drawing(): void {
  const { start, corner, stroke } = app, unit = scale();
  if (stroke.length) {
    pen.strokeStyle = app.tool === "erase" ? "#fff" : colourOf(app.object);
    pen.globalAlpha = 0.7;
    pen.lineWidth = 2 * Number(radius.value);
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(stroke[0], stroke[1]);
    for (let i = 0; i < stroke.length; i += 2) pen.lineTo(stroke[i], stroke[i + 1] + 0.01);
    pen.stroke();
    pen.globalAlpha = 1;
  } else if (start && corner && app.tool === "drag") {
    pen.lineWidth = 1.5 * unit;
    dot(...corner, 5 * unit, colourOf(app.object), "#fff");
  } else if (start && corner) {
    pen.lineWidth = 1.5 * unit;
    pen.strokeStyle = colourOf(app.object);
    pen.strokeRect(start[0], start[1], corner[0] - start[0], corner[1] - start[1]);
  }
}
