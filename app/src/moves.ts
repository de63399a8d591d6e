// Going through frames: to those that matter, and one after the other.

import { app, calls, nameOf } from "./store";

const { show, say } = { show: (frame: number, ahead?: number) => calls.show(frame, ahead), say: (text: string) => calls.say(text) };

export function given(direction: 1 | -1): void {
  const frames = Object.keys(app.state.given).map(Number).sort((a, b) => (a - b) * direction);
  const next = frames.find((each) => (each - app.frame) * direction > 0);
  if (next !== undefined) show(next);
  else say(frames.length ? `there is no keyframe ${direction > 0 ? "after" : "before"} this frame` : "there is no keyframe yet: a frame on which something is marked");
}

// The frame with the smallest margin; pressed again, the next one.
export function worst(): void {
  const margins = [...app.scores].filter(([, row]) => Object.keys(row).length)
    .map(([number, row]): [number, number] => [Math.min(...Object.values(row).map((each) => each[4] ? -1 : each[1])), number]);
  const order = margins.sort(([a, b], [c, d]) => a - c || b - d).map(([, number]) => number);
  const next = order[(order.indexOf(app.frame) + 1) % order.length];
  show(next);
  if (order.length > 1) say(`number ${order.indexOf(next) + 1} of ${order.length} by margin; again for the next`);
}

// Where the next mask helps most, if nothing says where it is wrong.
export function gap(): void {
  const [first, last] = app.state.range, frames = [first, ...Object.keys(app.state.given).map(Number), last];
  const gaps = frames.slice(1).map((each, place) => [each - frames[place], Math.floor((each + frames[place]) / 2)]);
  show(gaps.reduce((widest, each) => each[0] > widest[0] ? each : widest)[1]);
}

// The first frame that the chosen object is on.
export function start(): void {
  const on = Object.entries(app.state.given).filter(([, ids]) => ids.includes(app.object)).map(([frame]) => Number(frame));
  for (const [frame, row] of app.scores) if (row[app.object] && (app.task === "points" || row[app.object][0] > 0)) on.push(frame);
  if (!on.length) { say(`${nameOf(app.object)} is on no frame yet`); return; }
  const first = on.reduce((least, each) => Math.min(least, each));
  if (first === app.frame) say(`this is the first frame of ${nameOf(app.object)}`);
  else show(first);
}

export const pause = (): void => { if (app.playing) { clearTimeout(app.playing); app.playing = 0; show(app.frame); } };

export function play(): void {
  if (app.playing) return pause();
  const { about } = app;
  const step = async () => {
    const began = performance.now(), next = app.frame + 1 < about.count ? app.frame + 1 : 0;
    const wait = next && about.times.length ? (about.times[next] - about.times[app.frame]) * 1000 : 40;
    await show(next, 4);
    if (app.playing) app.playing = setTimeout(step, Math.max(0, wait - (performance.now() - began)));
  };
  app.playing = setTimeout(step, 0);
  calls.mark();
}
