// The tools of each task, and what the pointer does with them.

import { Task } from "./server";
import { $, app, calls, edit, Point, Tool } from "./store";
import { busy, fixed } from "./reasons";
import { canvas, paint, scale, shown } from "./paint";

type Row = [Tool, string, string];
const LOOK: Row = ["look", "Look", "L"];
const PAINT: Row[] = [["brush", "Brush", "D"], ["erase", "Erase", "E"], ["fill", "Fill", "F"]];
export const TOOLS: Record<Task, Row[]> = {
  track: [["point", "Point", "P"], ["outside", "Outside", "O"], ["box", "Box", "B"], ...PAINT, LOOK],
  points: [["drop", "Drop", "P"], ["drag", "Drag", "G"], ["hide", "Hide", "H"], ["remove", "Remove", "X"], LOOK],
  parse: [...PAINT, LOOK],
  refer: [LOOK],
};
// How near, in pixels of the screen, a click has to be to a point.
const NEAR = 14;

export function pick(name: Tool): void {
  if (fixed()) { calls.say(fixed()); return; }
  app.tool = name;
  if (name !== "look" && app.layer?.path(0).includes("/look/")) { app.layer = null; paint(); }
  calls.mark();
}

export function place(event: PointerEvent): Point {
  const box = canvas.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * canvas.width, y = (event.clientY - box.top) / box.height * canvas.height;
  return [Math.min(canvas.width - 0.01, Math.max(0, x)), Math.min(canvas.height - 0.01, Math.max(0, y))];
}

// The point under the pointer: where it is followed to, or where it was put.
function nearest([x, y]: Point): number | null {
  const found: [number, number][] = shown.points.map(([id, left, top]) => [Math.hypot(left - x, top - y), id]);
  for (const each of app.state.objects)
    if (each.frame === app.frame) found.push([Math.hypot(each.x! - x, each.y! - y), each.id]);
  const best = found.reduce((least, each) => each[0] < least[0] ? each : least, [Infinity, 0]);
  return best[0] <= NEAR * scale() ? best[1] : null;
}

export function listen(pause: () => void): void {
  const radius = $<HTMLInputElement>("radius");
  canvas.onpointerdown = (event) => {
    const reads = app.tool === "look";
    if (event.button) return;
    const why = fixed() || (reads ? "" : busy());
    if (why) { calls.say(why); return; }
    const at = place(event);
    if (app.tool === "drag" || app.tool === "hide" || app.tool === "remove") {
      const id = nearest(at);
      if (id === null) { calls.say("there is no point here; click on one"); return; }
      app.object = id;
      calls.list();
    }
    canvas.setPointerCapture(event.pointerId);
    app.start = at;
    pause();
    if (app.tool === "brush" || app.tool === "erase") { app.stroke = [...at]; paint(); }
  };
  canvas.onpointermove = (event) => {
    if (!app.start) return;
    const at = place(event);
    if (app.stroke.length) app.stroke.push(...at);
    else if (app.tool === "box" || app.tool === "drag") app.corner = at;
    paint();
  };
  canvas.onpointerup = async (event) => {
    if (!app.start) return;
    const from = app.start, to = place(event), values = [Number(radius.value), ...app.stroke], { tool } = app;
    app.start = app.corner = null;
    if (tool === "point" || tool === "outside")
      await edit("point", [...to, tool === "outside" || event.shiftKey || event.altKey ? 0 : 1]);
    else if (tool === "box") {
      if (Math.abs(to[0] - from[0]) > 2 && Math.abs(to[1] - from[1]) > 2) await edit("box", [...from, ...to]);
      else calls.say("press where a corner of the box is to be, and let go at the opposite one");
    }
    else if (tool === "drop") {
      app.object = 1 + Math.max(0, ...app.state.objects.map((each) => each.id).filter((id) => id < 10000));
      await edit("drop", to);
    } else if (tool === "drag") await edit("drag", to);
    else if (tool === "hide" || tool === "remove") await edit(tool);
    else if (tool === "fill") await edit("fill", to);
    else if (tool === "look") look(to);
    else await edit(tool, values);
    app.stroke = [];
    paint();
  };
  canvas.onpointercancel = () => { app.start = app.corner = null; app.stroke = []; paint(); };
}

function look([x, y]: Point): void {
  const { clip, frame } = app, where = `${x.toFixed(1)}/${y.toFixed(1)}`;
  app.layer = {
    title: `where ${x.toFixed(0)}, ${y.toFixed(0)} of frame ${frame} looks; step to other frames, Esc ends it`,
    path: (other) => `/api/${clip}/look/${frame}/${where}/${other}.png`,
  };
  calls.show(frame);
}
