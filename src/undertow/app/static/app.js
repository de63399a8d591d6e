"use strict";
(() => {
  // src/server.ts
  async function get(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(await reason(answer));
    return answer.json();
  }
  async function post(path, body = {}) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body)
    });
    if (!answer.ok) throw new Error(await reason(answer));
    return answer.json();
  }
  async function reason(answer) {
    try {
      const detail = (await answer.json()).detail;
      return typeof detail === "string" ? detail : "the server cannot read that";
    } catch {
      return `the server answers ${answer.status}`;
    }
  }
  var Pictures = class {
    constructor(room = 48) {
      this.room = room;
    }
    room;
    kept = /* @__PURE__ */ new Map();
    frame(number) {
      return this.take(`/api/frames/${number}.png`);
    }
    mask(number) {
      return this.take(`/api/masks/${number}.png`);
    }
    forget(number) {
      for (const path of [...this.kept.keys()])
        if (path.includes("/masks/") && (number === null || path.endsWith(`/${number}.png`))) this.kept.delete(path);
    }
    take(path) {
      const found = this.kept.get(path) ?? load(path);
      this.kept.delete(path);
      this.kept.set(path, found);
      found.catch(() => this.kept.delete(path));
      if (this.kept.size > this.room) this.kept.delete(this.kept.keys().next().value);
      return found;
    }
  };
  async function load(path) {
    const answer = await fetch(path);
    if (answer.status === 204) return null;
    if (!answer.ok) throw new Error(await reason(answer));
    return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  }

  // src/timeline.ts
  var colourOf = (id) => {
    const parts = [0, 0, 0];
    for (let bit = 7, rest = id; bit >= 0; bit--, rest >>= 3)
      for (let channel = 0; channel < 3; channel++) parts[channel] |= (rest >> channel & 1) << bit;
    return `rgb(${parts.join(" ")})`;
  };
  var ROW = 16;
  var HEAD = 12;
  var LEFT = 30;
  var Timeline = class {
    constructor(canvas2, count, seek) {
      this.canvas = canvas2;
      this.count = count;
      const at = (event) => {
        const box = canvas2.getBoundingClientRect();
        const share = (event.clientX - box.left - LEFT) / Math.max(1, box.width - LEFT);
        seek(Math.floor(Math.min(1, Math.max(0, share)) * count));
      };
      canvas2.addEventListener("pointerdown", (event) => {
        canvas2.setPointerCapture(event.pointerId);
        at(event);
      });
      canvas2.addEventListener("pointermove", (event) => {
        if (event.buttons) at(event);
      });
    }
    canvas;
    count;
    draw(frame2, objects2, state2, scores2) {
      const { canvas: canvas2, count } = this, style = getComputedStyle(canvas2);
      const shown = objects2.slice(0, 8), ratio = window.devicePixelRatio || 1;
      const width = canvas2.clientWidth, height = HEAD + ROW * Math.max(1, shown.length);
      canvas2.style.height = `${height}px`;
      canvas2.width = Math.round(width * ratio);
      canvas2.height = Math.round(height * ratio);
      canvas2.setAttribute("aria-valuemax", String(count - 1));
      canvas2.setAttribute("aria-valuenow", String(frame2));
      canvas2.setAttribute("aria-valuetext", `frame ${frame2} of ${count}`);
      const pen2 = canvas2.getContext("2d"), step = (width - LEFT) / count;
      const place2 = (number) => LEFT + number * step;
      pen2.scale(ratio, ratio);
      pen2.fillStyle = style.getPropertyValue("--line");
      pen2.fillRect(LEFT, HEAD / 2, width - LEFT, 1);
      pen2.font = "11px system-ui, sans-serif";
      pen2.textBaseline = "middle";
      shown.forEach((id, row) => {
        const top = HEAD + row * ROW, middle = top + ROW / 2;
        pen2.fillStyle = style.color;
        pen2.fillText(String(id), 2, middle);
        pen2.fillStyle = style.getPropertyValue("--line");
        pen2.fillRect(LEFT, top + ROW - 2, width - LEFT, 1);
        for (const [number, row2] of scores2) {
          const score = row2[id];
          if (!score) continue;
          const lost = Boolean(score[4]), tall = lost ? 3 : 2 + Math.min(1, Math.max(0, score[1])) * (ROW - 6);
          pen2.fillStyle = lost ? style.getPropertyValue("--lost") : `color-mix(in srgb, ${colourOf(id)} 75%, ${style.color})`;
          pen2.globalAlpha = state2.stale ? 0.45 : 1;
          pen2.fillRect(place2(number), top + ROW - 3 - tall, Math.max(1, step - (step > 4 ? 1 : 0)), tall);
        }
        pen2.globalAlpha = 1;
        pen2.fillStyle = style.color;
        for (const [number, ids] of Object.entries(state2.given)) {
          if (!ids.includes(id)) continue;
          const x = place2(Number(number)) + step / 2;
          pen2.beginPath();
          pen2.moveTo(x, middle - 5);
          pen2.lineTo(x + 5, middle);
          pen2.lineTo(x, middle + 5);
          pen2.lineTo(x - 5, middle);
          pen2.fill();
          pen2.strokeStyle = style.getPropertyValue("--panel");
          pen2.stroke();
        }
      });
      pen2.fillStyle = style.getPropertyValue("--accent");
      pen2.fillRect(place2(frame2) + step / 2 - 1, 0, 2, height);
      pen2.fillRect(place2(frame2) + step / 2 - 4, 0, 8, 6);
    }
  };

  // src/app.ts
  var TOOLS = [
    ["point", "Point", "P"],
    ["outside", "Outside", "O"],
    ["box", "Box", "B"],
    ["brush", "Brush", "D"],
    ["erase", "Erase", "E"]
  ];
  var KEYS = [
    ["Click, shift-click", "on the object, beside it"],
    ["P O B D E", "point, point outside, box, brush, eraser"],
    ["1 to 9, N", "object, new object"],
    ["Delete", "take the object off this frame"],
    ["T, Esc", "track, stop"],
    ["Space", "play"],
    ["Left, Right", "one frame; with shift ten"],
    ["Home, End", "first and last frame"],
    ["Page up, Page down", "frames that were given"],
    ["W", "frame with the smallest margin"],
    ["V", "next view"],
    ["+ - 0", "zoom, fit"],
    ["[ ]", "brush smaller, larger"],
    ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"],
    ["Ctrl+E", "export"],
    ["?", "these keys"]
  ];
  var $ = (id) => document.getElementById(id);
  var canvas = $("canvas");
  var pen = canvas.getContext("2d", { willReadFrequently: true });
  var radius = $("radius");
  var view = $("view");
  var zoom = $("zoom");
  var pictures = new Pictures();
  var scores = /* @__PURE__ */ new Map();
  var about;
  var state;
  var timeline;
  var frame = 0;
  var object = 1;
  var tool = "point";
  var playing = 0;
  var busy = "";
  var trouble = "";
  var stroke = [];
  var start = null;
  var images = [null, null];
  var hidden = /* @__PURE__ */ new Set();
  async function show(number, ahead = 1) {
    frame = Math.min(about.count - 1, Math.max(0, number));
    const wanted = frame;
    mark();
    try {
      const both = await Promise.all([pictures.frame(wanted), pictures.mask(wanted)]);
      if (wanted !== frame) return;
      images = both;
      paint();
      canvas.dataset.frame = String(wanted);
      for (let next = 1; next <= ahead; next++)
        if (wanted + next < about.count) pictures.frame(wanted + next).catch(() => null);
    } catch (error) {
      fail(error);
    }
  }
  function paint() {
    const [image, found] = images, how = view.value;
    const mask = found && hidden.size ? without(found) : found;
    pen.globalCompositeOperation = "source-over";
    pen.globalAlpha = 1;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (how === "matte") {
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
      pen.globalAlpha = 0.5;
      if (mask && how === "overlay") pen.drawImage(mask, 0, 0);
      pen.globalAlpha = 1;
    }
    if (how !== "plain") prompts();
    if (stroke.length) {
      pen.strokeStyle = tool === "erase" ? "#fff" : colourOf(object);
      pen.globalAlpha = 0.7;
      pen.lineWidth = 2 * Number(radius.value);
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(stroke[0], stroke[1]);
      for (let i = 0; i < stroke.length; i += 2) pen.lineTo(stroke[i], stroke[i + 1] + 0.01);
      pen.stroke();
      pen.globalAlpha = 1;
    }
  }
  function without(mask) {
    const copy = Object.assign(document.createElement("canvas"), { width: mask.width, height: mask.height });
    const brush = copy.getContext("2d");
    brush.drawImage(mask, 0, 0);
    const pixels = brush.getImageData(0, 0, mask.width, mask.height);
    const closed = new Set([...hidden].map(colourOf));
    for (let i = 0; i < pixels.data.length; i += 4)
      if (pixels.data[i + 3] && closed.has(`rgb(${pixels.data[i]} ${pixels.data[i + 1]} ${pixels.data[i + 2]})`))
        pixels.data[i + 3] = 0;
    brush.putImageData(pixels, 0, 0);
    return copy;
  }
  function prompts() {
    const scale2 = canvas.width / Math.max(1, canvas.clientWidth);
    for (const each of state.prompts.filter((one) => one.frame === frame && !hidden.has(one.object))) {
      const [x, y, more, last] = each.values;
      pen.lineWidth = 1.5 * scale2;
      pen.strokeStyle = "#fff";
      if (each.kind === "box") {
        pen.strokeRect(x, y, more - x, last - y);
        pen.strokeStyle = colourOf(each.object);
        pen.setLineDash([4 * scale2, 3 * scale2]);
        pen.strokeRect(x, y, more - x, last - y);
        pen.setLineDash([]);
        continue;
      }
      pen.fillStyle = more ? colourOf(each.object) : "#d00";
      pen.beginPath();
      pen.arc(x, y, 4.5 * scale2, 0, 7);
      pen.fill();
      pen.stroke();
    }
    if (start && stroke.length === 0 && corner) {
      pen.lineWidth = 1.5 * scale2;
      pen.strokeStyle = colourOf(object);
      pen.strokeRect(start[0], start[1], corner[0] - start[0], corner[1] - start[1]);
    }
  }
  var corner = null;
  function mark() {
    const seconds = about.times[frame];
    $("time").textContent = `${frame} / ${about.count - 1}` + (seconds === void 0 ? "" : `  ${seconds.toFixed(3)} s`);
    canvas.setAttribute("aria-label", `Frame ${frame} of ${about.label}`);
    const doing = state.doing || busy, status = $("status");
    status.textContent = trouble || (state.doing === "track" ? `tracking: ${scores.size} of ${about.count} frames` : doing ? `${doing} ...` : state.message || (state.stale ? "edited since it was tracked" : ""));
    status.classList.toggle("busy", Boolean(doing) && !trouble);
    const locked = Boolean(doing) || !about.editable;
    const disable = (id, off) => {
      $(id).disabled = off;
    };
    disable("undo", locked || !state.undo);
    disable("redo", locked || !state.redo);
    disable("track", locked || !Object.keys(state.given).length || state.complete && !state.stale);
    disable("export", Boolean(doing) || !state.complete);
    disable("worst", !scores.size);
    disable("clear", locked);
    disable("copy", !state.command);
    $("stop").hidden = state.doing !== "track";
    $("play").textContent = playing ? "Pause" : "Play";
    for (const each of $("tools").children)
      each.setAttribute("aria-checked", String(each.dataset.tool === tool));
    timeline.draw(frame, objects(), state, scores);
  }
  var objects = () => [.../* @__PURE__ */ new Set([...state.objects, object])].sort((a, b) => a - b);
  function list() {
    $("objects").replaceChildren(...objects().map((id) => {
      const row = document.createElement("li"), name = document.createElement("button"), eye = document.createElement("button");
      const colour = document.createElement("i");
      colour.style.background = colourOf(id);
      name.append(colour, `Object ${id}`);
      name.setAttribute("role", "radio");
      name.setAttribute("aria-checked", String(id === object));
      name.onclick = () => choose(id);
      eye.textContent = hidden.has(id) ? "Show" : "Hide";
      eye.setAttribute("aria-label", `${eye.textContent} object ${id}`);
      eye.onclick = () => {
        if (!hidden.delete(id)) hidden.add(id);
        list();
        paint();
      };
      row.append(name, eye);
      return row;
    }));
  }
  function choose(id) {
    object = id;
    list();
    mark();
  }
  function take(next) {
    state = next;
    list();
    mark();
  }
  function fail(error) {
    trouble = error instanceof Error ? error.message : String(error);
    mark();
  }
  async function ask(path, body = {}, what = "") {
    busy = what;
    trouble = "";
    mark();
    try {
      take(await post(path, body));
      pictures.forget(null);
    } catch (error) {
      fail(error);
    }
    busy = "";
    await show(frame);
  }
  var draw = (kind, values) => ask("/api/edits", { kind, frame, object, values }, kind === "clear" ? "clearing" : "making a mask");
  function place(event) {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * canvas.width, y = (event.clientY - box.top) / box.height * canvas.height;
    return [Math.min(canvas.width - 0.01, Math.max(0, x)), Math.min(canvas.height - 0.01, Math.max(0, y))];
  }
  function listen() {
    canvas.onpointerdown = (event) => {
      if (busy || state.doing || !about.editable || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      start = place(event);
      pause();
      if (tool === "brush" || tool === "erase") {
        stroke = [...start];
        paint();
      }
    };
    canvas.onpointermove = (event) => {
      if (!start) return;
      const at = place(event);
      if (stroke.length) stroke.push(...at);
      else if (tool === "box") corner = at;
      paint();
    };
    canvas.onpointerup = async (event) => {
      if (!start) return;
      const from = start, to = place(event), values = [Number(radius.value), ...stroke];
      start = corner = null;
      if (tool === "point" || tool === "outside")
        await draw("point", [...to, tool === "outside" || event.shiftKey || event.altKey ? 0 : 1]);
      else if (tool === "box") {
        if (Math.abs(to[0] - from[0]) > 2 && Math.abs(to[1] - from[1]) > 2) await draw("box", [...from, ...to]);
      } else await draw(tool, values);
      stroke = [];
      paint();
    };
    canvas.onpointercancel = () => {
      start = corner = null;
      stroke = [];
      paint();
    };
    const press = {
      undo: () => ask("/api/undo"),
      redo: () => ask("/api/redo"),
      track: () => ask("/api/track"),
      stop: () => ask("/api/stop"),
      export: () => ask("/api/exports", { format: $("format").value }),
      play,
      back: () => show(frame - 1),
      forth: () => show(frame + 1),
      worst,
      clear: () => draw("clear", []),
      add: () => choose(Math.max(0, ...objects()) + 1),
      help: () => $("keys").showModal(),
      copy: () => navigator.clipboard.writeText(state.command).then(() => {
        trouble = "the command is copied";
        mark();
      }, fail)
    };
    for (const [id, action] of Object.entries(press)) $(id).onclick = () => {
      action();
    };
    view.onchange = paint;
    zoom.oninput = fit;
    new ResizeObserver(() => {
      fit();
      mark();
    }).observe($("stage"));
    matchMedia("(prefers-color-scheme: dark)").onchange = mark;
    const keys = {
      " ": press.play,
      n: press.add,
      t: press.track,
      Escape: press.stop,
      w: worst,
      "?": press.help,
      Delete: press.clear,
      ArrowLeft: press.back,
      ArrowRight: press.forth,
      Home: () => show(0),
      End: () => show(about.count - 1),
      "shift ArrowLeft": () => show(frame - 10),
      "shift ArrowRight": () => show(frame + 10),
      PageUp: () => given(-1),
      PageDown: () => given(1),
      "ctrl z": press.undo,
      "ctrl shift z": press.redo,
      "ctrl y": press.redo,
      "ctrl e": press.export,
      "[": () => size(-1),
      "]": () => size(1),
      v: () => {
        view.selectedIndex = (view.selectedIndex + 1) % view.length;
        paint();
      },
      "+": () => scale(0.5),
      "-": () => scale(-0.5),
      "0": () => scale(-9)
    };
    for (const [name, , key] of TOOLS) keys[key.toLowerCase()] = () => pick(name);
    for (let id = 1; id <= 9; id++) keys[id] = () => choose(id);
    document.onkeydown = (event) => {
      const target = event.target, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if ($("keys").open || target.closest("select, input") || target.closest("button") && key === " ") return;
      const letter = key === "?" || key === "+" ? key : `${event.shiftKey ? "shift " : ""}${key}`;
      const action = keys[`${event.ctrlKey || event.metaKey ? "ctrl " : ""}${letter}`];
      const button = Object.entries(press).find(([, each]) => each === action)?.[0];
      if (!action || button && $(button).disabled || button === "stop" && $("stop").hidden) return;
      event.preventDefault();
      action();
    };
  }
  function pick(name) {
    tool = name;
    mark();
  }
  function size(step) {
    radius.value = String(Number(radius.value) + step);
  }
  function scale(step) {
    zoom.value = String(Number(zoom.value) + step);
    fit();
  }
  function given(direction) {
    const frames = Object.keys(state.given).map(Number).sort((a, b) => (a - b) * direction);
    const next = frames.find((each) => (each - frame) * direction > 0);
    if (next !== void 0) show(next);
  }
  function worst() {
    const margins = [...scores].map(([number, row]) => [Math.min(...Object.values(row).map((each) => each[1])), number]);
    if (margins.length) show(margins.reduce((least, each) => each[0] < least[0] ? each : least)[1]);
  }
  function pause() {
    if (playing) {
      clearTimeout(playing);
      playing = 0;
      mark();
    }
  }
  function play() {
    if (playing) return pause();
    const step = async () => {
      const began = performance.now(), next = frame + 1 < about.count ? frame + 1 : 0;
      const wait = next && about.times.length ? (about.times[next] - about.times[frame]) * 1e3 : 40;
      await show(next, 4);
      if (playing) playing = setTimeout(step, Math.max(0, wait - (performance.now() - began)));
    };
    playing = setTimeout(step, 0);
    mark();
  }
  function fit() {
    const stage = $("stage"), room = [stage.clientWidth - 18, stage.clientHeight - 18];
    const share = Math.max(0.02, Math.min(room[0] / about.width, room[1] / about.height)) * Number(zoom.value);
    canvas.style.width = `${Math.floor(about.width * share)}px`;
    canvas.style.height = `${Math.floor(about.height * share)}px`;
    canvas.style.imageRendering = share >= 3 ? "pixelated" : "auto";
    if (state) paint();
  }
  function follow() {
    const source = new EventSource("/api/events");
    source.addEventListener("state", (event) => {
      if (trouble === AWAY) trouble = "";
      take(JSON.parse(event.data));
    });
    source.addEventListener("edit", (event) => {
      pictures.forget(JSON.parse(event.data).frame);
      show(frame);
    });
    source.addEventListener("frame", (event) => {
      const made = JSON.parse(event.data);
      scores.set(made.frame, made.scores);
      pictures.forget(made.frame);
      if (made.frame === frame) show(frame);
      else mark();
    });
    source.addEventListener("done", async () => {
      await reload();
      pictures.forget(null);
      show(frame);
    });
    source.onopen = () => {
      reload().then(mark, fail);
    };
    source.onerror = () => {
      fail(new Error(AWAY));
    };
  }
  var AWAY = "the server does not answer; nothing is lost, start it again";
  async function reload() {
    const rows = await get("/api/scores");
    scores.clear();
    for (const [number, row] of Object.entries(rows)) scores.set(Number(number), row);
  }
  async function begin() {
    [about, state] = await Promise.all([get("/api/clip"), get("/api/state")]);
    document.title = `${about.label} - undertow`;
    $("label").textContent = about.label;
    [canvas.width, canvas.height] = [about.width, about.height];
    $("format").append(...Object.entries(about.formats).map(([name, line]) => {
      const option = document.createElement("option");
      option.value = option.textContent = name;
      option.title = line;
      return option;
    }));
    $("tools").append(...TOOLS.map(([name, text, key]) => {
      const button = document.createElement("button");
      button.dataset.tool = name;
      button.textContent = text;
      button.title = `${text} (${key})`;
      button.setAttribute("role", "radio");
      button.disabled = !about.editable;
      button.onclick = () => pick(name);
      return button;
    }));
    $("keys").querySelector("dl").append(...KEYS.flatMap(([key, text]) => {
      const term = document.createElement("dt"), what = document.createElement("dd");
      term.textContent = key;
      what.textContent = text;
      return [term, what];
    }));
    timeline = new Timeline($("timeline"), about.count, show);
    listen();
    list();
    await reload();
    fit();
    await show(0);
    fit();
    follow();
  }
  begin().catch((error) => {
    $("status").textContent = error instanceof Error ? error.message : String(error);
  });
})();
