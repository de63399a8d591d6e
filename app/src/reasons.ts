// Why a button does nothing now. What can be pressed has no reason; what cannot says it, on the button and when it is pressed.

import { Task } from "./server";
import { app, things } from "./store";

// Of each task: its name, what is pressed to run it, what is said meanwhile, and before anything is done.
export const TASKS: Record<Task, [string, string, string, string]> = {
  track: ["Masks", "Track", "tracking", "click on an object, or draw a box around it; then Track"],
  points: ["Points", "Follow", "following", "click where points are to be, or add a grid; then Follow"],
  parse: ["Classes", "Parse", "parsing", "Parse finds clusters; or paint classes on a frame first"],
  refer: ["Words", "Find", "finding", "write what to look for, such as the red kite; then Find"],
};

const WORDS: Record<string, string> = {
  estimate: "estimate", export: "export", mask: "mask", edit: "edit", track: "tracking", points: "following", parse: "parsing", refer: "finding",
};

export function busy(): string {
  const { doing } = app.state;
  if (app.asking || app.busy) return `wait: ${app.busy || "the server is being asked"}`;
  if (!doing) return "";
  return `wait for the ${WORDS[doing] ?? doing} to end${doing === "mask" || doing === "edit" ? "" : ", or stop it with Esc"}`;
}

export const fixed = (): string =>
  app.about.editable ? "" : "the video of this run is not known; start the app with --video to change anything";

export function refusal(id: string): string {
  const { state, about } = app, [, run, , hint] = TASKS[app.task];
  const asked = app.task === "refer" ? state.objects.length > 0 : app.task === "parse" || Object.keys(state.given).length > 0;
  const changing = fixed() || busy();
  switch (id) {
    case "undo": return changing || (state.undo ? "" : "there is nothing to take back");
    case "redo": return changing || (state.redo ? "" : "there is nothing to do again");
    case "run": return changing || (!asked ? hint : state.complete && !state.stale ? "it is done, and nothing was edited since" : "");
    case "estimate": return changing || (asked ? "" : hint);
    case "stop": return state.doing || app.layer ? "" : "nothing runs that could be stopped";
    case "export": return busy() || (state.complete ? "" : state.done ? `not all frames are done; ${run} goes on` : `there is nothing to export yet; ${hint}`);
    case "worst": return app.scores.size ? "" : `frames have no margins yet; ${run} makes them`;
    case "play": case "back": case "forth": case "gap": return about.count > 1 ? "" : "there is one frame only";
    case "add": case "grid": case "from": case "upto": return changing;
    case "clear": {
      const here = state.given[app.frame] ?? Object.entries(app.scores.get(app.frame) ?? {}).filter(([, row]) => row[0] > 0).map(([each]) => Number(each));
      const called = things().find((each) => each.id === app.object)?.name ?? "the object";
      return changing || (here.includes(app.object) ? "" : `${called} is not on this frame`);
    }
    case "copy": return fixed();
    case "python": return fixed() || (asked ? "" : hint);
    default: return "";
  }
}
