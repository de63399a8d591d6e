// How large a frame is shown, and which part of it: all of it, pixel by pixel, or larger around the pointer.

import { $, app } from "./store";
import { canvas, paint } from "./paint";

const stage = $("stage"), slider = $<HTMLInputElement>("zoom"), share = $("share");
// 1 is where all of the frame fits.
let factor = 1;

const fitting = (): number =>
  Math.max(0.02, Math.min((stage.clientWidth - 18) / app.about.width, (stage.clientHeight - 18) / app.about.height));

export function fit(): void {
  const scale = factor * fitting();
  canvas.style.width = `${Math.max(1, Math.floor(app.about.width * scale))}px`;
  canvas.style.height = `${Math.max(1, Math.floor(app.about.height * scale))}px`;
  canvas.style.imageRendering = scale >= 3 ? "pixelated" : "auto";
  share.textContent = `${Math.round(100 * scale * devicePixelRatio)} %`;
  slider.value = String(Math.log2(factor));
  slider.setAttribute("aria-valuetext", share.textContent);
  if (app.state) paint();
}

// What lies under the pointer, or in the middle, stays where it is.
export function zoom(to: number, at?: { clientX: number; clientY: number }): void {
  const before = canvas.getBoundingClientRect(), room = stage.getBoundingClientRect();
  const x = at?.clientX ?? room.left + room.width / 2, y = at?.clientY ?? room.top + room.height / 2;
  const across = (x - before.left) / before.width, down = (y - before.top) / before.height;
  factor = Math.min(32, Math.max(1 / 8, to));
  fit();
  const after = canvas.getBoundingClientRect();
  stage.scrollLeft += after.left + across * after.width - x;
  stage.scrollTop += after.top + down * after.height - y;
}

export const zoomBy = (by: number): void => zoom(factor * by);
export const fill = (): void => zoom(1);
export const one = (): void => zoom(1 / (fitting() * devicePixelRatio));

export function listen(): void {
  slider.oninput = () => zoom(2 ** Number(slider.value));
  new ResizeObserver(fit).observe(stage);
  // Without Ctrl the wheel scrolls, as it does everywhere; a pinch comes with it.
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(factor * 2 ** (-event.deltaY / 200), event);
  }, { passive: false });
  // The middle button drags the frame.
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 1) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    stage.onpointermove = (move) => { stage.scrollLeft -= move.movementX; stage.scrollTop -= move.movementY; };
    stage.onpointerup = stage.onpointercancel = () => { stage.onpointermove = null; };
  });
}
