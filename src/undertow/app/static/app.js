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
  function upload(file, step) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `/api/clips?name=${encodeURIComponent(file.name)}`);
      request.responseType = "json";
      request.upload.onprogress = (event) => {
        step(event.loaded / event.total);
      };
      request.onload = () => {
        if (request.status === 200) resolve(request.response.clip);
        else reject(new Error(request.response?.detail ?? `the server answers ${request.status}`));
      };
      request.onerror = () => {
        reject(new Error("the clip did not arrive; drop it again"));
      };
      request.send(file);
    });
  }
  async function reason(answer) {
    try {
      const detail = (await answer.json()).detail;
      return typeof detail === "string" ? detail : "the server cannot read that";
    } catch {
      return `the server answers ${answer.status}`;
    }
  }
  var ROOM = 2 ** 28;
  var Pictures = class {
    constructor(clip2, task2, { width, height }) {
      this.clip = clip2;
      this.task = task2;
      this.room = Math.min(48, Math.max(12, ROOM / (4 * width * height)));
    }
    clip;
    task;
    kept = /* @__PURE__ */ new Map();
    room;
    frame(number) {
      return this.take(`/api/${this.clip}/frames/${number}.bmp`);
    }
    mask(number) {
      return this.take(this.made("masks", `${number}.png`));
    }
    points(number) {
      return this.take(this.made("layers", `${number}`));
    }
    soft(number, id) {
      return this.take(this.made("soft", `${number}/${id}.png`));
    }
    heat(path) {
      return this.take(path);
    }
    forget(number) {
      for (const path of [...this.kept.keys()])
        if (!path.includes("/frames/") && (number === null || new RegExp(`/${number}(\\D|$)`).test(path))) this.kept.delete(path);
    }
    made(what, rest) {
      return `/api/${this.clip}/${this.task}/${what}/${rest}`;
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
    if (answer.headers.get("Content-Type")?.startsWith("application/json")) return answer.json();
    return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  }

  // src/store.ts
  var $ = (id) => document.getElementById(id);
  var [clip, task] = location.hash.slice(1).split("/");
  var app = {
    clip: Number(clip) || 0,
    task: task || "",
    about: null,
    state: null,
    pictures: null,
    scores: /* @__PURE__ */ new Map(),
    // While frames are made they are shown as they come; this is the frame to go back to, unless a person goes elsewhere.
    home: null,
    frame: 0,
    object: 1,
    tool: "point",
    playing: 0,
    busy: "",
    asking: false,
    trouble: "",
    progress: "",
    hidden: /* @__PURE__ */ new Set(),
    locked: /* @__PURE__ */ new Set(),
    solo: -1,
    // A map over each frame, such as where a pixel looks, and what it is called.
    layer: null,
    stroke: [],
    start: null,
    corner: null
  };
  var calls = {
    show: async (_frame, _ahead, _following) => {
    },
    say: (_text) => {
    },
    mark: () => {
    },
    list: () => {
    },
    paint: () => {
    },
    ask: async (_path, _body, _busy) => {
    },
    fail: (_error) => {
    }
  };
  var address = (path) => `/api/${app.clip}/${app.task}/${path}`;
  var things = () => {
    const known = app.state.objects;
    if (app.task !== "track" && app.task !== "parse" || known.some((each) => each.id === app.object)) return known;
    const fresh = { id: app.object, name: `${app.task === "track" ? "Object" : "class"} ${app.object}`, colour: davis(app.object) };
    return [...known, fresh].sort((a, b) => a.id - b.id);
  };
  var colourOf = (id) => app.state.objects.find((each) => each.id === id)?.colour ?? davis(id);
  var nameOf = (id) => things().find((each) => each.id === id)?.name ?? `object ${id}`;
  var isHidden = (id) => app.solo >= 0 ? id !== app.solo : app.hidden.has(id);
  var LOOKS = () => `looks ${app.clip}/${app.task}`;
  function remember() {
    sessionStorage.setItem(LOOKS(), JSON.stringify([[...app.hidden], [...app.locked], app.solo]));
  }
  function recall() {
    const [hidden, locked, solo] = JSON.parse(sessionStorage.getItem(LOOKS()) ?? "[[],[],-1]");
    Object.assign(app, { hidden: new Set(hidden), locked: new Set(locked), solo });
  }
  var CHANGES = ["point", "box", "brush", "erase", "fill", "clear", "delete"];
  async function edit(kind, values = [], more = {}) {
    const { frame, object, locked } = app;
    if (CHANGES.includes(kind) && locked.has(object)) {
      calls.say(`${nameOf(object)} is locked; press L beside its name to change it`);
      return;
    }
    const body = { kind, frame, object, values, locked: [...locked].filter((id) => id !== object), ...more };
    return calls.ask(address("edits"), body, kind === "point" || kind === "box" ? "making a mask" : "");
  }
  function davis(id) {
    const parts = [0, 0, 0];
    for (let bit = 7, rest = id; bit >= 0; bit--, rest >>= 3)
      for (let channel = 0; channel < 3; channel++) parts[channel] |= (rest >> channel & 1) << bit;
    return `#${parts.map((part2) => part2.toString(16).padStart(2, "0")).join("")}`;
  }

  // src/keys.ts
  var COOKIE = "undertow-keys";
  var dialog = $("keys");
  var said = $("keys-said");
  var actions = [];
  var own = read();
  var waiting = null;
  function read() {
    const found = document.cookie.split("; ").find((each) => each.startsWith(`${COOKIE}=`));
    try {
      const kept = JSON.parse(decodeURIComponent(found.slice(COOKIE.length + 1)));
      return Object.fromEntries(Object.entries(kept).filter(([, keys]) => typeof keys === "string"));
    } catch {
      return {};
    }
  }
  function keep() {
    const age = Object.keys(own).length ? 400 * 24 * 3600 : 0;
    document.cookie = `${COOKIE}=${encodeURIComponent(JSON.stringify(own))}; max-age=${age}; samesite=strict; path=/`;
  }
  var keysOf = ([id, , keys]) => (own[id] ?? keys).split(" ").filter(Boolean);
  var taken = (name) => actions.find((each) => keysOf(each).includes(name));
  var shown = (keys) => keys.map((key) => key.replace("Arrow", "")).join(", ") || "none";
  function nameOf2(event) {
    const { key } = event, letter = key.toUpperCase() !== key.toLowerCase();
    if (key === "Shift" || key === "Control" || key === "Alt" || key === "Meta") return "";
    const held = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey && letter ? "Shift+" : ""}`;
    return held + (key === " " ? "Space" : key.length === 1 ? key.toUpperCase() : key);
  }
  function bind(all, fixed2, heard) {
    actions = all;
    document.onkeydown = (event) => {
      const target = event.target, name = nameOf2(event);
      const typed = target.closest("select, input:not([type=range])");
      const slid = target.closest("input") && event.key.length > 1 && event.key !== "Escape";
      if (dialog.open || typed || slid || target.closest("button, summary") && name === "Space") return;
      const action = taken(name);
      if (!action) return;
      event.preventDefault();
      heard();
      action[3]();
    };
    dialog.addEventListener("keydown", (event) => {
      if (!waiting) return;
      const name = nameOf2(event), id = waiting.dataset.action;
      if (!name || event.key === "Tab") return;
      event.preventDefault();
      event.stopPropagation();
      if (name !== "Escape") change(id, name);
      waiting = null;
      list(fixed2);
      dialog.querySelector(`[data-action="${id}"]`)?.focus();
    }, true);
    $("keys-reset").onclick = () => {
      own = {};
      keep();
      said.textContent = "all keys are as they were delivered";
      list(fixed2);
    };
    dialog.onclose = () => {
      waiting = null;
      said.textContent = "";
    };
    list(fixed2);
  }
  function change(id, name) {
    const action = actions.find((each) => each[0] === id), other = taken(name);
    if (/^[1-9]$/.test(name)) {
      said.textContent = `${name} chooses an object; press another key`;
      return;
    }
    if (other && other !== action) own[other[0]] = keysOf(other).filter((each) => each !== name).join(" ");
    own[id] = name;
    keep();
    said.textContent = other && other !== action ? `${shown([name])} does this now; "${other[1]}" has ${keysOf(other).length ? shown(keysOf(other)) : "no key"}` : "";
  }
  function list(fixed2) {
    const word = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    dialog.querySelector("dl").replaceChildren(
      ...fixed2.flatMap(([keys, text]) => [word("dt", text), word("dd", keys)]),
      ...actions.flatMap((action) => {
        const button2 = word("button", shown(keysOf(action))), cell = document.createElement("dd");
        button2.dataset.action = action[0];
        button2.setAttribute("aria-label", `${action[1]}: ${button2.textContent}; change`);
        button2.onclick = () => {
          list(fixed2);
          waiting = dialog.querySelector(`[data-action="${action[0]}"]`);
          waiting.textContent = "press a key";
          waiting.focus();
        };
        cell.append(button2);
        return [word("dt", action[1]), cell];
      })
    );
  }

  // src/moves.ts
  var { show, say } = { show: (frame, ahead) => calls.show(frame, ahead), say: (text) => calls.say(text) };
  function given(direction) {
    const frames = Object.keys(app.state.given).map(Number).sort((a, b) => (a - b) * direction);
    const next = frames.find((each) => (each - app.frame) * direction > 0);
    if (next !== void 0) show(next);
    else say(frames.length ? `there is no keyframe ${direction > 0 ? "after" : "before"} this frame` : "there is no keyframe yet: a frame on which something is marked");
  }
  function worst() {
    const margins = [...app.scores].filter(([, row2]) => Object.keys(row2).length).map(([number, row2]) => [Math.min(...Object.values(row2).map((each) => each[4] ? -1 : each[1])), number]);
    const order = margins.sort(([a, b], [c, d]) => a - c || b - d).map(([, number]) => number);
    const next = order[(order.indexOf(app.frame) + 1) % order.length];
    show(next);
    if (order.length > 1) say(`number ${order.indexOf(next) + 1} of ${order.length} by margin; again for the next`);
  }
  function gap() {
    const [first, last] = app.state.range, frames = [first, ...Object.keys(app.state.given).map(Number), last];
    const gaps = frames.slice(1).map((each, place2) => [each - frames[place2], Math.floor((each + frames[place2]) / 2)]);
    show(gaps.reduce((widest, each) => each[0] > widest[0] ? each : widest)[1]);
  }
  function start() {
    const on = Object.entries(app.state.given).filter(([, ids]) => ids.includes(app.object)).map(([frame]) => Number(frame));
    for (const [frame, row2] of app.scores) if (row2[app.object] && (app.task === "points" || row2[app.object][0] > 0)) on.push(frame);
    if (!on.length) {
      say(`${nameOf(app.object)} is on no frame yet`);
      return;
    }
    const first = on.reduce((least, each) => Math.min(least, each));
    if (first === app.frame) say(`this is the first frame of ${nameOf(app.object)}`);
    else show(first);
  }
  var pause = () => {
    if (app.playing) {
      clearTimeout(app.playing);
      app.playing = 0;
      show(app.frame);
    }
  };
  function play() {
    if (app.playing) return pause();
    const { about } = app;
    const step = async () => {
      const began = performance.now(), next = app.frame + 1 < about.count ? app.frame + 1 : 0;
      const wait = next && about.times.length ? (about.times[next] - about.times[app.frame]) * 1e3 : 40;
      await show(next, 4);
      if (app.playing) app.playing = setTimeout(step, Math.max(0, wait - (performance.now() - began)));
    };
    app.playing = setTimeout(step, 0);
    calls.mark();
  }

  // src/reasons.ts
  var TASKS = {
    track: ["Masks", "Track", "tracking", "click on an object, or draw a box around it; then Track"],
    points: ["Points", "Follow", "following", "click where points are to be, or add a grid; then Follow"],
    parse: ["Classes", "Parse", "parsing", "Parse finds clusters; or paint classes on a frame first"],
    refer: ["Words", "Find", "finding", "write what to look for, such as the red kite; then Find"]
  };
  var WORDS = {
    estimate: "estimate",
    export: "export",
    mask: "mask",
    edit: "edit",
    track: "tracking",
    points: "following",
    parse: "parsing",
    refer: "finding"
  };
  function busy() {
    const { doing } = app.state;
    if (app.asking || app.busy) return `wait: ${app.busy || "the server is being asked"}`;
    if (!doing) return "";
    return `wait for the ${WORDS[doing] ?? doing} to end${doing === "mask" || doing === "edit" ? "" : ", or stop it with Esc"}`;
  }
  var fixed = () => app.about.editable ? "" : "the video of this run is not known; start the app with --video to change anything";
  function refusal(id) {
    const { state, about } = app, [, run, , hint] = TASKS[app.task];
    const asked = app.task === "refer" ? state.objects.length > 0 : app.task === "parse" || Object.keys(state.given).length > 0;
    const changing = fixed() || busy();
    switch (id) {
      case "undo":
        return changing || (state.undo ? "" : "there is nothing to take back");
      case "redo":
        return changing || (state.redo ? "" : "there is nothing to do again");
      case "run":
        return changing || (!asked ? hint : state.complete && !state.stale ? "it is done, and nothing was edited since" : "");
      case "estimate":
        return changing || (asked ? "" : hint);
      case "stop":
        return state.doing || app.layer ? "" : "nothing runs that could be stopped";
      case "export":
        return busy() || (state.complete ? "" : state.done ? `not all frames are done; ${run} goes on` : `there is nothing to export yet; ${hint}`);
      case "worst":
        return app.scores.size ? "" : `frames have no margins yet; ${run} makes them`;
      case "play":
      case "back":
      case "forth":
      case "gap":
        return about.count > 1 ? "" : "there is one frame only";
      case "add":
      case "grid":
      case "from":
      case "upto":
        return changing;
      case "clear": {
        const here = state.given[app.frame] ?? Object.entries(app.scores.get(app.frame) ?? {}).filter(([, row2]) => row2[0] > 0).map(([each]) => Number(each));
        const called = things().find((each) => each.id === app.object)?.name ?? "the object";
        return changing || (here.includes(app.object) ? "" : `${called} is not on this frame`);
      }
      case "copy":
        return fixed();
      case "python":
        return fixed() || (asked ? "" : hint);
      default:
        return "";
    }
  }

  // src/paint.ts
  var canvas = $("canvas");
  var pen = canvas.getContext("2d", { willReadFrequently: true });
  var radius = $("radius");
  var view = $("view");
  var calm = matchMedia("(prefers-reduced-motion: reduce)");
  var shown2 = {
    image: null,
    mask: null,
    layer: null,
    soft: null,
    points: []
  };
  function paint() {
    const { image, layer } = shown2, how = view.value;
    const mask = how === "soft" ? shown2.soft : shown2.mask && visible(shown2.mask);
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
    if (how !== "plain") {
      points();
      prompts();
    }
    drawing();
  }
  setInterval(() => {
    if (view.value === "flicker") paint();
  }, 400);
  function visible(mask) {
    const closed = new Set(app.state.objects.filter((each) => isHidden(each.id)).map((each) => each.colour));
    if (!closed.size) return mask;
    const copy2 = Object.assign(document.createElement("canvas"), { width: mask.width, height: mask.height });
    const brush = copy2.getContext("2d");
    brush.drawImage(mask, 0, 0);
    const pixels = brush.getImageData(0, 0, mask.width, mask.height), data = pixels.data;
    const codes = new Set([...closed].map((colour) => parseInt(colour.slice(1), 16)));
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] && codes.has(data[i] << 16 | data[i + 1] << 8 | data[i + 2])) data[i + 3] = 0;
    brush.putImageData(pixels, 0, 0);
    return copy2;
  }
  var scale = () => canvas.width / Math.max(1, canvas.clientWidth);
  function dot(x, y, size, fill2, edge) {
    pen.beginPath();
    pen.arc(x, y, size, 0, 7);
    if (fill2) {
      pen.fillStyle = fill2;
      pen.fill();
    }
    pen.strokeStyle = edge;
    pen.stroke();
  }
  function points() {
    if (app.task !== "points") return;
    const unit = scale(), followed = new Set(shown2.points.map(([id]) => id));
    const hidden = new Set(app.state.objects.filter((each) => each.hidden).map((each) => each.id));
    pen.lineWidth = 1.5 * unit;
    for (const [id, x, y, seen, , tail] of shown2.points) {
      if (hidden.has(id) || isHidden(id)) continue;
      const colour = colourOf(id);
      pen.strokeStyle = colour;
      pen.beginPath();
      tail.forEach(([left, top], place2) => place2 ? pen.lineTo(left, top) : pen.moveTo(left, top));
      if (seen) pen.stroke();
      dot(x, y, (id === app.object ? 6 : 4) * unit, seen ? colour : null, id === app.object ? "#fff" : seen ? "#000a" : colour);
    }
    for (const each of app.state.objects)
      if (each.frame === app.frame && !each.hidden && (!followed.has(each.id) || app.state.stale))
        dot(each.x, each.y, 4.5 * unit, each.colour, each.id === app.object ? "#fff" : "#000");
  }
  function prompts() {
    const unit = scale();
    for (const each of app.state.prompts ?? []) {
      if (each.frame !== app.frame || isHidden(each.object)) continue;
      const [x, y, more, last] = each.values;
      pen.lineWidth = 1.5 * unit;
      if (each.kind === "point") {
        dot(x, y, 4.5 * unit, more ? colourOf(each.object) : "#d00", "#fff");
        continue;
      }
      pen.strokeStyle = "#fff";
      pen.strokeRect(x, y, more - x, last - y);
      pen.strokeStyle = colourOf(each.object);
      pen.setLineDash([4 * unit, 3 * unit]);
      pen.strokeRect(x, y, more - x, last - y);
      pen.setLineDash([]);
    }
  }
  function drawing() {
    const { start: start2, corner, stroke } = app, unit = scale();
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
    } else if (start2 && corner && app.tool === "drag") {
      pen.lineWidth = 1.5 * unit;
      dot(...corner, 5 * unit, colourOf(app.object), "#fff");
    } else if (start2 && corner) {
      pen.lineWidth = 1.5 * unit;
      pen.strokeStyle = colourOf(app.object);
      pen.strokeRect(start2[0], start2[1], corner[0] - start2[0], corner[1] - start2[1]);
    }
  }

  // src/zoom.ts
  var stage = $("stage");
  var slider = $("zoom");
  var share = $("share");
  var factor = 1;
  var fitting = () => Math.max(0.02, Math.min((stage.clientWidth - 18) / app.about.width, (stage.clientHeight - 18) / app.about.height));
  function fit() {
    const scale2 = factor * fitting();
    canvas.style.width = `${Math.max(1, Math.floor(app.about.width * scale2))}px`;
    canvas.style.height = `${Math.max(1, Math.floor(app.about.height * scale2))}px`;
    canvas.style.imageRendering = scale2 >= 3 ? "pixelated" : "auto";
    share.textContent = `${Math.round(100 * scale2 * devicePixelRatio)} %`;
    slider.value = String(Math.log2(factor));
    slider.setAttribute("aria-valuetext", share.textContent);
    if (app.state) paint();
  }
  function zoom(to, at) {
    const before = canvas.getBoundingClientRect(), room = stage.getBoundingClientRect();
    const x = at?.clientX ?? room.left + room.width / 2, y = at?.clientY ?? room.top + room.height / 2;
    const across = (x - before.left) / before.width, down = (y - before.top) / before.height;
    factor = Math.min(32, Math.max(1 / 8, to));
    fit();
    const after = canvas.getBoundingClientRect();
    stage.scrollLeft += after.left + across * after.width - x;
    stage.scrollTop += after.top + down * after.height - y;
  }
  var zoomBy = (by) => zoom(factor * by);
  var fill = () => zoom(1);
  var one = () => zoom(1 / (fitting() * devicePixelRatio));
  function listen() {
    slider.oninput = () => zoom(2 ** Number(slider.value));
    new ResizeObserver(fit).observe(stage);
    stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(factor * 2 ** (-event.deltaY / 200), event);
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 1) return;
      event.preventDefault();
      stage.setPointerCapture(event.pointerId);
      stage.onpointermove = (move) => {
        stage.scrollLeft -= move.movementX;
        stage.scrollTop -= move.movementY;
      };
      stage.onpointerup = stage.onpointercancel = () => {
        stage.onpointermove = null;
      };
    });
  }

  // src/panel.ts
  var MOST = 300;
  var ROLES = { kept: "counts", stop: "stop word", place: "a place", outside: "not of what is named" };
  function button(text, label, press2, on) {
    const made = document.createElement("button");
    made.textContent = text;
    made.title = label;
    made.setAttribute("aria-label", label);
    if (on !== void 0) made.setAttribute("aria-pressed", String(on));
    made.onclick = press2;
    return made;
  }
  function flip(set, id) {
    if (!set.delete(id)) set.add(id);
    looked();
  }
  function looked() {
    remember();
    calls.list();
    calls.paint();
  }
  function row(each) {
    const item = document.createElement("li"), name = document.createElement("button"), colour = document.createElement("i");
    const called = each.name;
    colour.style.background = each.colour;
    name.append(colour, Object.assign(document.createElement("span"), { textContent: called }));
    name.title = called;
    name.setAttribute("role", "radio");
    name.setAttribute("aria-checked", String(each.id === app.object));
    name.onclick = () => choose(each.id);
    item.append(name);
    if (app.task === "points") {
      item.append(button(each.hidden ? "\u25CB" : "\u25CF", `${each.hidden ? "Show" : "Hide"} ${called}`, () => {
        choose(each.id);
        edit("hide");
      }));
      return item;
    }
    item.append(
      button(isHidden(each.id) ? "\u25CB" : "\u25CF", `${isHidden(each.id) ? "Show" : "Hide"} ${called}`, () => {
        app.solo = -1;
        flip(app.hidden, each.id);
      }),
      button("S", `Show ${called} alone`, () => {
        app.solo = app.solo === each.id ? -1 : each.id;
        looked();
      }, app.solo === each.id)
    );
    if (app.task !== "refer") item.append(button("L", `Lock ${called}`, () => flip(app.locked, each.id), app.locked.has(each.id)));
    return item;
  }
  function choose(id) {
    app.object = id;
    if (app.layer?.path(0).includes("/heat/")) app.layer = null;
    calls.list();
    calls.mark();
  }
  function list2() {
    const all = things();
    $("objects").replaceChildren(...all.slice(0, MOST).map(row));
    const chosen = all.find((each) => each.id === app.object);
    if (!$("chosen").contains(document.activeElement)) $("chosen").replaceChildren(...chosen ? details(chosen) : []);
  }
  function details(each) {
    const locked = !app.about.editable, parts = [];
    if (app.task === "track" || app.task === "parse") {
      const name = Object.assign(document.createElement("input"), { value: each.name, maxLength: 100, disabled: locked });
      name.setAttribute("aria-label", "Name");
      name.onchange = () => {
        name.blur();
        edit("name", [], { text: name.value });
      };
      parts.push(name);
    }
    if (app.task === "parse") {
      const colour = Object.assign(document.createElement("input"), { type: "color", value: each.colour, disabled: locked });
      colour.setAttribute("aria-label", "Colour");
      colour.onchange = () => {
        colour.blur();
        edit("colour", [], { text: colour.value });
      };
      const into = document.createElement("select");
      into.setAttribute("aria-label", "Merge into");
      into.append(...app.state.objects.map((other) => {
        const text = other.id === each.id ? "its own" : `into ${other.name}`;
        return Object.assign(document.createElement("option"), { value: String(other.id), textContent: text, selected: other.id === (each.merge ?? each.id) });
      }));
      into.disabled = locked || !app.state.complete;
      into.title = fixed() || (into.disabled ? "classes are merged once all frames are parsed" : "");
      into.onchange = () => {
        into.blur();
        edit("merge", [Number(into.value)]);
      };
      parts.push(colour, into);
    }
    if (app.task === "refer") parts.push(...words(each));
    const gone = { track: "delete", points: "remove", refer: "delete", parse: "" }[app.task];
    if (gone) parts.push(button("Delete", `Delete ${each.name}`, () => {
      const why = fixed() || busy();
      if (why) calls.say(why);
      else edit(gone);
    }));
    return parts;
  }
  function words(each) {
    const line = document.createElement("p"), found = each.finding;
    const said2 = found ? found.words : each.name.split(/\s+/).map((word) => ({ word, role: "" }));
    line.className = "words";
    const chip = (text, place2, role) => {
      const path = address(`heat/FRAME/${each.id}/${place2}.png`), on = app.layer?.path(0) === path.replace("FRAME", "0");
      const made = button(text, `Where "${text}" looks${role ? ` (${ROLES[role] ?? role})` : ""}`, () => {
        app.layer = on ? null : { title: `where "${text}" looks; Esc ends it`, path: (frame) => path.replace("FRAME", String(frame)) };
        calls.list();
        calls.show(app.frame, 1, true);
      }, on);
      if (role && role !== "kept") made.className = "left";
      return made;
    };
    line.append(...said2.map((one2, place2) => chip(one2.word, place2, one2.role)), chip("all", -1, ""));
    const verdict = document.createElement("p");
    if (found) verdict.textContent = found.present ? `seen best on frame ${found.frame}, contrast ${found.contrast.toFixed(2)}` : "not found";
    return [line, verdict];
  }
  function queue(jobs) {
    const open = jobs.filter((job) => job.state === "waiting" || job.state === "running");
    $("queue-count").textContent = open.length ? String(open.length) : "";
    $("jobs").replaceChildren(...jobs.slice(-12).reverse().map((job) => {
      const item = document.createElement("li"), text = document.createElement("span");
      text.textContent = `${job.title}: ${job.state}`;
      text.title = job.message;
      item.append(text);
      if (open.includes(job))
        item.append(button("\xD7", `Cancel ${job.title}`, () => {
          post(`/api/jobs/${job.number}/stop`).then(queue, calls.fail);
        }));
      return item;
    }));
  }

  // src/tools.ts
  var LOOK = ["look", "Look", "L"];
  var PAINT = [["brush", "Brush", "D"], ["erase", "Erase", "E"], ["fill", "Fill", "F"]];
  var TOOLS = {
    track: [["point", "Point", "P"], ["outside", "Outside", "O"], ["box", "Box", "B"], ...PAINT, LOOK],
    points: [["drop", "Drop", "P"], ["drag", "Drag", "G"], ["hide", "Hide", "H"], ["remove", "Remove", "X"], LOOK],
    parse: [...PAINT, LOOK],
    refer: [LOOK]
  };
  var NEAR = 14;
  function pick(name) {
    if (fixed()) {
      calls.say(fixed());
      return;
    }
    app.tool = name;
    if (name !== "look" && app.layer?.path(0).includes("/look/")) {
      app.layer = null;
      paint();
    }
    calls.mark();
  }
  function place(event) {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * canvas.width, y = (event.clientY - box.top) / box.height * canvas.height;
    return [Math.min(canvas.width - 0.01, Math.max(0, x)), Math.min(canvas.height - 0.01, Math.max(0, y))];
  }
  function nearest([x, y]) {
    const found = shown2.points.map(([id, left, top]) => [Math.hypot(left - x, top - y), id]);
    for (const each of app.state.objects)
      if (each.frame === app.frame) found.push([Math.hypot(each.x - x, each.y - y), each.id]);
    const best = found.reduce((least, each) => each[0] < least[0] ? each : least, [Infinity, 0]);
    return best[0] <= NEAR * scale() ? best[1] : null;
  }
  function listen2(pause2) {
    const radius3 = $("radius");
    canvas.onpointerdown = (event) => {
      const reads = app.tool === "look";
      if (event.button) return;
      const why = fixed() || (reads ? "" : busy());
      if (why) {
        calls.say(why);
        return;
      }
      const at = place(event);
      if (app.tool === "drag" || app.tool === "hide" || app.tool === "remove") {
        const id = nearest(at);
        if (id === null) {
          calls.say("there is no point here; click on one");
          return;
        }
        app.object = id;
        calls.list();
      }
      canvas.setPointerCapture(event.pointerId);
      app.start = at;
      pause2();
      if (app.tool === "brush" || app.tool === "erase") {
        app.stroke = [...at];
        paint();
      }
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
      const from = app.start, to = place(event), values = [Number(radius3.value), ...app.stroke], { tool } = app;
      app.start = app.corner = null;
      if (tool === "point" || tool === "outside")
        await edit("point", [...to, tool === "outside" || event.shiftKey || event.altKey ? 0 : 1]);
      else if (tool === "box") {
        if (Math.abs(to[0] - from[0]) > 2 && Math.abs(to[1] - from[1]) > 2) await edit("box", [...from, ...to]);
        else calls.say("press where a corner of the box is to be, and let go at the opposite one");
      } else if (tool === "drop") {
        app.object = 1 + Math.max(0, ...app.state.objects.map((each) => each.id).filter((id) => id < 1e4));
        await edit("drop", to);
      } else if (tool === "drag") await edit("drag", to);
      else if (tool === "hide" || tool === "remove") await edit(tool);
      else if (tool === "fill") await edit("fill", to);
      else if (tool === "look") look(to);
      else await edit(tool, values);
      app.stroke = [];
      paint();
    };
    canvas.onpointercancel = () => {
      app.start = app.corner = null;
      app.stroke = [];
      paint();
    };
  }
  function look([x, y]) {
    const { clip: clip2, frame } = app, where = `${x.toFixed(1)}/${y.toFixed(1)}`;
    app.layer = {
      title: `where ${x.toFixed(0)}, ${y.toFixed(0)} of frame ${frame} looks; step to other frames, Esc ends it`,
      path: (other) => `/api/${clip2}/look/${frame}/${where}/${other}.png`
    };
    calls.show(frame);
  }

  // src/timeline.ts
  var ROW = 16;
  var HEAD = 12;
  var LEFT = 70;
  var MOST2 = 7;
  var Timeline = class {
    constructor(canvas2, seek) {
      this.canvas = canvas2;
      const at = (event) => {
        const box = canvas2.getBoundingClientRect();
        const share2 = (event.clientX - box.left - LEFT) / Math.max(1, box.width - LEFT);
        seek(Math.floor(Math.min(1, Math.max(0, share2)) * app.about.count));
      };
      canvas2.addEventListener("pointerdown", (event) => {
        canvas2.setPointerCapture(event.pointerId);
        at(event);
      });
      canvas2.addEventListener("pointermove", (event) => {
        if (event.buttons) at(event);
      });
      canvas2.addEventListener("wheel", (event) => {
        event.preventDefault();
        this.first += Math.sign(event.deltaY);
        calls.mark();
      }, { passive: false });
    }
    canvas;
    first = 0;
    strip = "";
    // Rows are few whatever the number of objects; the one that is worked on is among them when it is chosen.
    reveal(all) {
      const place2 = all.findIndex((each) => each.id === app.object);
      if (place2 >= 0) this.first = Math.min(place2, Math.max(this.first, place2 - MOST2 + 1));
    }
    draw(all) {
      const { canvas: canvas2 } = this, { count } = app.about, style = getComputedStyle(canvas2), ratio = window.devicePixelRatio || 1;
      this.first = Math.max(0, Math.min(this.first, all.length - MOST2));
      const rows = all.slice(this.first, this.first + MOST2);
      const width = canvas2.clientWidth, height = HEAD + ROW * Math.max(1, rows.length), line = style.getPropertyValue("--line");
      canvas2.style.height = `${height}px`;
      canvas2.width = Math.round(width * ratio);
      canvas2.height = Math.round(height * ratio);
      canvas2.setAttribute("aria-valuemax", String(count - 1));
      canvas2.setAttribute("aria-valuenow", String(app.frame));
      canvas2.setAttribute("aria-valuetext", `frame ${app.frame} of ${count}`);
      const pen2 = canvas2.getContext("2d"), step = (width - LEFT) / count, place2 = (number) => LEFT + number * step;
      pen2.scale(ratio, ratio);
      pen2.fillStyle = line;
      pen2.fillRect(LEFT, HEAD / 2, width - LEFT, 1);
      const [first, last] = app.state.part;
      pen2.fillRect(LEFT, 0, place2(first) - LEFT, height);
      pen2.fillRect(place2(last + 1), 0, width - place2(last + 1), height);
      pen2.fillStyle = style.getPropertyValue("--changed");
      for (const [from, to] of app.state.changed) pen2.fillRect(place2(from), HEAD - 4, Math.max(2, place2(to + 1) - place2(from)), 4);
      pen2.font = "11px system-ui, sans-serif";
      pen2.textBaseline = "middle";
      rows.forEach((each, row2) => {
        const top = HEAD + row2 * ROW, middle = top + ROW / 2;
        pen2.fillStyle = style.color;
        pen2.fillText(short(each.name), 2, middle, LEFT - 6);
        pen2.fillStyle = line;
        pen2.fillRect(LEFT, top + ROW - 2, width - LEFT, 1);
        this.bars(pen2, each, top, step, place2, style);
        pen2.globalAlpha = 1;
        pen2.fillStyle = style.color;
        for (const [number, ids] of Object.entries(app.state.given)) {
          if (!ids.includes(each.id)) continue;
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
      pen2.fillRect(place2(app.frame) + step / 2 - 1, 0, 2, height);
      pen2.fillRect(place2(app.frame) + step / 2 - 4, 0, 8, 6);
      this.thumbs(width);
    }
    // One bar for each column of the screen, of its worst frame.
    bars(pen2, each, top, step, place2, style) {
      const columns = /* @__PURE__ */ new Map();
      for (const [number, row2] of app.scores) {
        const score = row2[each.id];
        if (!score) continue;
        const column = step >= 1 ? place2(number) : Math.floor(place2(number)), known = columns.get(column);
        columns.set(column, [Math.min(score[1], known?.[0] ?? 1), Boolean(score[4]) || Boolean(known?.[1])]);
      }
      const colour = `color-mix(in srgb, ${each.colour} 75%, ${style.color})`, lost = style.getPropertyValue("--lost");
      pen2.globalAlpha = app.state.stale ? 0.45 : 1;
      for (const [x, [margin, gone]] of columns) {
        const tall = gone ? 3 : 2 + Math.min(1, Math.max(0, margin)) * (ROW - 6);
        pen2.fillStyle = gone ? lost : colour;
        pen2.fillRect(x, top + ROW - 3 - tall, Math.max(1, step - (step > 4 ? 1 : 0)), tall);
      }
    }
    thumbs(width) {
      const { count, width: across, height: down } = app.about, each = Math.max(24, 40 * across / down);
      const shown3 = Math.max(1, Math.min(count, Math.floor((width - LEFT) / each))), key = `${app.clip}/${shown3}`;
      if (key === this.strip || !app.about.editable) return;
      this.strip = key;
      $("thumbs").replaceChildren(...Array.from({ length: shown3 }, (_, place2) => {
        const image = document.createElement("img");
        image.alt = "";
        image.loading = "lazy";
        image.src = `/api/${app.clip}/thumbs/${Math.floor((place2 + 0.5) * count / shown3)}.jpg`;
        return image;
      }));
    }
  };
  var short = (name) => name.length > 12 ? `${name.slice(0, 11)}\u2026` : name;

  // src/app.ts
  var FIXED = [
    ["click; shift- or alt-click", "on the object; beside it"],
    ["1 to 9", "choose an object"],
    ["Ctrl and wheel", "zoom at the pointer"],
    ["wheel, middle button", "move the frame"]
  ];
  var AWAY = "the server does not answer; nothing is lost: start it again, and open the address that it prints";
  var radius2 = $("radius");
  var view2 = $("view");
  var way = $("way");
  var timeline;
  async function show2(number, ahead = 1, following = false) {
    if (!following) app.home = null;
    app.frame = Math.min(app.about.count - 1, Math.max(0, number));
    const wanted = app.frame, { pictures, layer } = app, points2 = app.task === "points";
    mark();
    try {
      const [image, mask, followed, soft] = await Promise.all([
        pictures.frame(wanted),
        points2 ? null : pictures.mask(wanted),
        points2 ? pictures.points(wanted) : [],
        view2.value === "soft" && app.task !== "points" ? pictures.soft(wanted, app.object) : null
      ]);
      if (wanted !== app.frame) return;
      Object.assign(shown2, { image, mask, soft, points: followed ?? [], layer: null });
      paint();
      canvas.dataset.frame = String(wanted);
      if (layer && !app.playing) {
        const heat = await pictures.heat(layer.path(wanted));
        if (wanted !== app.frame || layer !== app.layer) return;
        shown2.layer = heat;
        canvas.dataset.layer = String(wanted);
        paint();
      }
      for (let next = 1; next <= ahead; next++)
        if (wanted + next < app.about.count) pictures.frame(wanted + next).catch(() => null);
    } catch (error) {
      fail(error);
    }
  }
  var again = () => show2(app.frame, 1, true);
  function mark() {
    const { about, state, frame } = app, seconds = about.times[frame];
    $("time").textContent = `${frame} / ${about.count - 1}` + (seconds === void 0 ? "" : `  ${seconds.toFixed(3)} s`);
    canvas.setAttribute("aria-label", `Frame ${frame} of ${about.label}`);
    const doing = state.doing || app.busy, status = $("status"), [, run, running, hint] = TASKS[app.task];
    const next = state.stale ? "edited since it was run" : state.complete ? "" : !state.undo && !state.done ? hint : refusal("run") || `press ${run} for the other frames`;
    const text = app.trouble || (state.doing === app.task ? `${running}: ${app.progress || "starting"}` : doing ? `${doing}: ${app.progress || "..."}` : app.layer?.title || state.message || next);
    if (status.textContent !== text) status.textContent = text;
    status.classList.toggle("busy", Boolean(doing) && !app.trouble);
    for (const id of BUTTONS) {
      const button2 = $(id), why = refusal(id);
      button2.dataset.title ??= button2.title;
      button2.setAttribute("aria-disabled", String(Boolean(why)));
      button2.title = why || button2.dataset.title;
    }
    canvas.classList.toggle("busy", Boolean(doing) && app.tool !== "look");
    way.value = state.way ?? "";
    $("changed").hidden = !state.changed.length;
    $("run").textContent = run;
    $("stop").hidden = !state.doing || state.doing === "mask";
    $("play").textContent = app.playing ? "Pause" : "Play";
    for (const each of $("tools").children) each.setAttribute("aria-checked", String(each.dataset.tool === app.tool));
    timeline.draw(app.task === "points" ? state.objects.filter((each) => each.id < 1e4) : things());
  }
  function take(next) {
    const home = app.state.doing === app.task && !next.doing ? app.home : null;
    app.state = next;
    if (home !== null) {
      app.home = null;
      app.frame = home;
      again();
    }
    list2();
    mark();
  }
  function fail(error) {
    app.trouble = error instanceof Error ? error.message : String(error);
    mark();
  }
  function say2(text) {
    app.trouble = text;
    mark();
    setTimeout(() => {
      if (app.trouble === text) hush();
    }, 6e3);
  }
  function hush() {
    if (app.trouble && app.trouble !== AWAY) {
      app.trouble = "";
      mark();
    }
  }
  var turn = Promise.resolve();
  function ask(path, body = {}, what = "") {
    const long = /(run|exports|estimate)$/.test(path);
    if (long) app.asking = true;
    turn = turn.then(async () => {
      Object.assign(app, { busy: what, trouble: "" });
      mark();
      try {
        take(await post(path, body));
        app.pictures.forget(null);
      } catch (error) {
        fail(error);
      }
      app.busy = "";
      if (long) app.asking = false;
      await again();
    });
    return turn;
  }
  function go(clip2, task2) {
    location.hash = `${clip2}/${task2}`;
    location.reload();
  }
  function end() {
    if (app.layer) {
      app.layer = null;
      list2();
      again();
    } else if (app.state.doing) {
      app.progress = "stopping after this step";
      ask(address("stop"));
    }
  }
  async function track(way2) {
    const why = fixed() || busy();
    if (why) {
      say2(why);
      return;
    }
    if (app.state.way !== way2) await edit("way", [], { object: 1, text: way2 });
    if (!app.trouble) attempt("run");
  }
  var press = {
    undo: () => ask(address("undo")),
    redo: () => ask(address("redo")),
    stop: end,
    run: () => {
      app.home = app.frame;
      return ask(address("run"));
    },
    estimate: () => ask(address("estimate")),
    play,
    back: () => show2(app.frame - 1),
    forth: () => show2(app.frame + 1),
    worst,
    gap,
    start,
    export: () => ask(address("exports"), { format: $("format").value, template: $("template").value }),
    clear: () => edit("clear"),
    help: () => $("keys").showModal(),
    from: () => part(0),
    upto: () => part(1),
    add: () => choose(Math.max(app.task === "parse" ? -1 : 0, ...things().map((each) => each.id)) + 1),
    grid: () => edit("grid", [Number($("across").value)], { object: 1 }),
    copy: () => copy("command"),
    python: () => copy("python"),
    open: () => $("file").click(),
    whole: fill,
    one
  };
  var BUTTONS = Object.keys(press);
  function attempt(id) {
    const why = $(id).closest("[hidden]") && id !== "stop" ? "that is not of this task" : refusal(id);
    if (why) say2(why);
    else press[id]();
  }
  async function copy(what) {
    try {
      await navigator.clipboard.writeText((await get(address("copies")))[what]);
      say2(what === "command" ? "the command is copied" : "the lines of Python are copied");
    } catch (error) {
      fail(error);
    }
  }
  function part(place2) {
    const range = [...app.state.range];
    range[place2] = app.frame;
    if (range[0] <= range[1]) edit("range", range, { object: 1 });
    else say2(place2 ? `work begins on frame ${range[0]}, after this one` : `work ends on frame ${range[1]}, before this one`);
  }
  function bind2() {
    for (const id of BUTTONS) $(id).onclick = () => {
      hush();
      attempt(id);
    };
    const step = (by) => {
      radius2.value = String(Number(radius2.value) + by);
    };
    const next = () => {
      view2.selectedIndex = (view2.selectedIndex + 1) % view2.length;
      again();
    };
    const does = (id) => () => attempt(id);
    const marks = app.task === "track" || app.task === "parse";
    const actions2 = [
      ...TOOLS[app.task].map(([name, text, key]) => [name, `tool: ${text.toLowerCase()}`, key, () => pick(name)]),
      ...marks ? [
        ["add", "new object", "N", does("add")],
        ["clear", "take the object off this frame", "Delete", does("clear")],
        ["smaller", "smaller brush", "[", () => step(-1)],
        ["larger", "larger brush", "]", () => step(1)]
      ] : [],
      ["run", TASKS[app.task][1].toLowerCase(), "T", does("run")],
      ...app.task === "track" ? [
        ["forward", "track forward", "Shift+F", () => track("forward")],
        ["backward", "track back", "Shift+B", () => track("back")],
        ["both", "track both ways", "Shift+T", () => track("both")]
      ] : [],
      ["stop", "stop; end a heat map", "Escape", does("stop")],
      ["play", "play, pause", "Space", does("play")],
      ["back", "frame before", "ArrowLeft ,", does("back")],
      ["forth", "next frame", "ArrowRight .", does("forth")],
      ["back10", "ten frames back", "Shift+ArrowLeft", () => show2(app.frame - 10)],
      ["forth10", "ten frames on", "Shift+ArrowRight", () => show2(app.frame + 10)],
      ["first", "first frame", "Home", () => show2(0)],
      ["last", "last frame", "End", () => show2(app.about.count - 1)],
      ["earlier", "previous keyframe", "PageUp", () => given(-1)],
      ["later", "next keyframe", "PageDown", () => given(1)],
      ["start", "first frame of the object", "A", does("start")],
      ["worst", "frame with the smallest margin, then the next", "W", does("worst")],
      ["gap", "middle of the widest gap", "M", does("gap")],
      ["from", "work from here", "I", does("from")],
      ["upto", "work up to here", "U", does("upto")],
      ["view", "next view", "V", next],
      ["in", "zoom in", "+ =", () => zoomBy(1.5)],
      ["out", "zoom out", "-", () => zoomBy(1 / 1.5)],
      ["whole", "fit the frame", "0", fill],
      ["one", "one pixel for one", "Z", one],
      ["undo", "undo", "Ctrl+Z", does("undo")],
      ["redo", "redo", "Ctrl+Shift+Z Ctrl+Y", does("redo")],
      ["export", "export", "Ctrl+E", does("export")],
      ["save", "is everything saved?", "Ctrl+S", () => say2("everything is saved as soon as it is done")],
      ["help", "these keys", "?", does("help")]
    ];
    bind(actions2, FIXED, hush);
    document.addEventListener("keydown", (event) => {
      const target = event.target;
      if (!/^[1-9]$/.test(nameOf2(event)) || target.closest("select, input:not([type=range]), dialog")) return;
      hush();
      const id = Number(event.key);
      if (app.task === "track" || app.task === "parse" || app.state.objects.some((each) => each.id === id)) choose(id);
      else say2(`there is no ${app.task === "points" ? "point" : "object"} ${id}`);
    });
    $("say").onsubmit = (event) => {
      event.preventDefault();
      const input = $("text"), object = 1 + Math.max(0, ...app.state.objects.map((each) => each.id));
      const why = fixed() || busy() || (input.value.trim() ? "" : "write what to look for, such as the red kite");
      if (why) {
        say2(why);
        return;
      }
      app.object = object;
      edit("word", [], { object, text: input.value.trim() });
      input.value = "";
    };
    view2.onchange = () => {
      again();
    };
    way.onchange = () => {
      way.blur();
      edit("way", [], { object: 1, text: way.value });
    };
    new ResizeObserver(() => mark()).observe($("stage"));
    matchMedia("(prefers-color-scheme: dark)").onchange = mark;
    addEventListener("pagehide", () => {
      sessionStorage.setItem(`frame ${app.clip}`, String(app.frame));
    });
  }
  function uploads() {
    const send = async (files) => {
      for (const file of files ?? []) {
        try {
          const clip2 = await upload(file, (share2) => {
            Object.assign(app, { busy: "copying", progress: `${Math.round(100 * share2)}%` });
            mark();
          });
          go(clip2, app.task);
        } catch (error) {
          fail(error);
        }
        Object.assign(app, { busy: "", progress: "" });
      }
    };
    $("file").onchange = (event) => send(event.target.files);
    document.ondragover = (event) => {
      event.preventDefault();
    };
    document.ondrop = (event) => {
      event.preventDefault();
      send(event.dataTransfer?.files ?? null);
    };
  }
  var coming = false;
  async function come(frame) {
    coming = true;
    await show2(frame, 0, true);
    coming = false;
  }
  function follow() {
    const source = new EventSource("/api/events");
    const all = async () => {
      take(await get(address("state")));
      await reload();
      app.pictures.forget(null);
      await again();
    };
    const heard = (name, does) => source.addEventListener(name, (event) => {
      const news = JSON.parse(event.data);
      if (news.clip === app.clip && news.task === app.task) does(news);
      if (name === "edit" || name === "done") get("/api/jobs").then(queue, fail);
    });
    heard("edit", (news) => {
      get(address("state")).then((state) => {
        if (state.doing === app.task && !app.state.doing) app.progress = "";
        take(state);
        app.pictures.forget(news.frame);
        again();
      }, fail);
    });
    heard("frame", (news) => {
      app.scores.set(news.frame, news.scores);
      app.pictures.forget(news.frame);
      if (news.frame === app.frame || app.home !== null && !coming) come(news.frame);
      else mark();
    });
    heard("progress", (news) => {
      app.progress = `${news.done}${news.total ? ` of ${news.total}` : ""} frames`;
      mark();
    });
    heard("done", () => {
      app.progress = "";
      all().then(() => {
        const { home } = app;
        app.home = null;
        if (home !== null) show2(home);
      }, fail);
    });
    source.addEventListener("missed", () => {
      all().catch(fail);
    });
    source.addEventListener("hello", () => {
      if (app.trouble === AWAY) app.trouble = "";
      all().catch(fail);
      get("/api/jobs").then(queue, fail);
    });
    source.onerror = () => {
      fail(new Error(AWAY));
    };
  }
  async function reload() {
    const rows = await get(address("scores"));
    app.scores.clear();
    for (const [number, row2] of Object.entries(rows)) app.scores.set(Number(number), row2);
  }
  var option = (value, text, title = "") => Object.assign(document.createElement("option"), { value, textContent: text, title });
  function build(clips) {
    const { about, task: task2 } = app;
    document.title = `${about.label} - undertow`;
    $("label").textContent = about.label;
    const chooser = $("clip");
    chooser.hidden = clips.length < 2;
    $("label").hidden = !chooser.hidden;
    chooser.append(...clips.map((label, place2) => option(String(place2), label)));
    chooser.value = String(app.clip);
    chooser.onchange = () => {
      go(Number(chooser.value), task2);
    };
    $("open").hidden = !about.uploads;
    $("tasks").append(...Object.keys(TASKS).map((each) => {
      const tab = document.createElement("button");
      tab.textContent = TASKS[each][0];
      tab.setAttribute("aria-current", String(each === task2));
      tab.onclick = () => {
        if (each !== task2) go(app.clip, each);
      };
      return tab;
    }));
    $("format").append(...Object.entries(about.tasks[task2]).map(([name, line]) => option(name, `${name}: ${line}`, line)));
    for (const each of document.querySelectorAll("[data-for]")) each.hidden = !each.dataset.for.split(" ").includes(task2);
    app.tool = TOOLS[task2][0][0];
    $("tools").append(...TOOLS[task2].map(([name, text, key]) => {
      const button2 = document.createElement("button");
      button2.dataset.tool = name;
      button2.textContent = text;
      button2.title = `${text} (${key})`;
      button2.setAttribute("role", "radio");
      button2.setAttribute("aria-disabled", String(!about.editable));
      button2.onclick = () => pick(name);
      return button2;
    }));
  }
  async function begin() {
    const clips = await get("/api/clips");
    if (app.clip >= clips.length) app.clip = 0;
    app.about = await get(`/api/${app.clip}/about`);
    if (!(app.task in TASKS)) app.task = app.about.opened;
    app.pictures = new Pictures(app.clip, app.task, app.about);
    app.state = await get(address("state"));
    [canvas.width, canvas.height] = [app.about.width, app.about.height];
    app.object = app.state.objects[0]?.id ?? (app.task === "parse" ? 0 : 1);
    build(clips);
    timeline = new Timeline($("timeline"), show2);
    Object.assign(calls, { show: show2, say: say2, mark, paint, ask, fail, list: () => {
      timeline.reveal(things());
      list2();
    } });
    recall();
    listen2(pause);
    bind2();
    listen();
    if (app.about.uploads) uploads();
    list2();
    await reload();
    fit();
    await show2(Number(sessionStorage.getItem(`frame ${app.clip}`)) || 0);
    fit();
    follow();
  }
  begin().catch((error) => {
    $("status").textContent = error instanceof Error ? error.message : String(error);
  });
})();
