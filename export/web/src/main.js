// The page: a person watches a walk through the generator's latent space, changes it and saves it.

import { ALWAYS_CLOSED, THROUGH_KEYFRAMES, away, axesAt, centreOf, classWeights, position, route, slerp, truncated, turned, used } from "./latents.js";
import { checkedSeed, framesOf, fromHash, fromJson, keyframesOf, latentOf, leastKeyframes, toHash, toJson } from "./walk.js";
import { ClassList, mixture } from "./classes.js";
import { bestFormat, record } from "./record.js";
import { Strip } from "./strip.js";

const FPS = 30;
const FILM_SIDE = 512; // at least so many pixels on a film's short side, as in `vidgan render`
const DRAG_RADIANS = Math.PI / 2; // the turn of a drag across the whole picture
const GLIDE_S = 0.7; // the time to return to the path after a drag
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");

export function start(generator) {
  const { info } = generator;
  const picture = $("picture");
  const small = new OffscreenCanvas(info.width, info.height); // the frame before enlargement
  const enlarge = enlargement(info);
  const thumbnails = new Map();
  const walk = { labels: [0], ...(fromHash(location.hash, info) ?? fresh("7")) };
  const view = { t: 0, playing: !still.matches, free: null, glide: null, crisp: false, nine: false, recording: null };
  let path, nineWalks, centres, shownSince = performance.now(), shownFrames = 0, dirty = true, busy = false;

  function fresh(seed, count = 4) {
    return { path: "loop", seed, keyframes: keyframesOf(seed, count), closed: true, hold: 0, ease: "linear", speed: 1, truncation: 1 };
  }

  // The walk, and all state that is computed from it.

  function changed() {
    if (ALWAYS_CLOSED.includes(walk.path)) walk.closed = true;
    if (!through()) Object.assign(walk, { hold: 0, ease: "linear" }); // such a path does not pass through its keyframes
    const along = (keyframes) => route(walk, keyframes.length, (i) => latentOf(keyframes[i], info.z_dim));
    try {
      path = along(walk.keyframes);
    } catch (error) {
      walk.path = "loop";
      path = along(walk.keyframes);
      toast(error.message);
    }
    nineWalks = [path, ...Array.from({ length: 8 }, (_, n) => {
      return along(keyframesOf(seedAfter(n + 1), walk.keyframes.length));
    })];
    centres = nineWalks.map((_, n) => centreOf(seedAfter(n), info.z_dim)); // one per walk, of its seed
    view.t = Math.min(view.t, 1);
    strip.show(walk.keyframes, used(walk.path, walk.keyframes.length));
    show();
  }

  const seedAfter = (n) => String((BigInt(walk.seed) + BigInt(n)) % 2n ** 64n);
  const through = () => THROUGH_KEYFRAMES.includes(walk.path);
  const segments = () => (walk.closed ? walk.keyframes.length : walk.keyframes.length - 1);
  const near = (z, n = 0) => truncated(z, centres[n], away(walk.truncation));
  const weightsAt = (t) => classWeights(walk.labels, info.classes, t, walk.closed);
  const partOf = (i, frames) => (walk.closed ? i / frames : i / Math.max(frames - 1, 1)); // of the film, at frame i
  const duration = () => framesOf(walk) / FPS;

  function latentNow() {
    const onPath = path(view.t * segments());
    if (view.free) return view.free;
    if (!view.glide) return onPath;
    const u = Math.min(1, (performance.now() - view.glide.since) / (GLIDE_S * 1000));
    if (u === 1) view.glide = null;
    return u === 1 ? onPath : slerp(view.glide.from, onPath, u * u * (3 - 2 * u));
  }

  /** Set every control to the current state. */
  function show() {
    dirty = true;
    $("seed").value = walk.seed;
    $("seed").classList.remove("wrong");
    $("truncation").value = walk.truncation;
    $("truncation-value").value = walk.truncation.toFixed(2);
    $("speed").value = Math.log2(walk.speed);
    $("speed-value").value = `${walk.speed.toFixed(walk.speed < 1 ? 2 : 1)}×`;
    if (info.classes) classes.show(walk.labels);
    $("path").value = walk.path;
    $("loop").disabled = ALWAYS_CLOSED.includes(walk.path);
    $("loop").ariaPressed = walk.closed;
    $("crisp").ariaPressed = view.crisp;
    $("nine").ariaPressed = view.nine;
    $("free").hidden = !view.free;
    const icon = view.playing ? "pause" : "play";
    $("play").querySelector("use").setAttribute("href", `#i-${icon}`);
    $("play").ariaLabel = icon === "pause" ? "Pause" : "Play";
    picture.classList.toggle("crisp", view.crisp);
    picture.classList.toggle("pick", view.nine);
    for (const id of ["truncation", "speed"]) filled($(id));
    if (format) $("record-text").textContent = view.recording ? "Stop" : `Record ${duration().toFixed(1)} s`;
    clearTimeout(show.later);
    show.later = setTimeout(() => history.replaceState(null, "", toHash(walk)), 250);
  }

  function filled(range) {
    const share = (range.value - range.min) / (range.max - range.min || 1);
    range.style.setProperty("--done", `${share * 100}%`);
  }

  function play(on) {
    if (on && view.free) leaveFree();
    if (on && !walk.closed && view.t >= 1) view.t = 0;
    view.playing = on;
    show();
  }

  function leaveFree() {
    if (!still.matches) view.glide = { from: view.free, since: performance.now() };
    view.free = null;
  }

  function seek(t) {
    view.t = t;
    view.free = view.glide = null;
    dirty = true;
    $("free").hidden = true;
  }

  function sow(seed) {
    Object.assign(walk, { seed, keyframes: keyframesOf(seed, Math.max(3, walk.keyframes.length)) });
    if (!view.free && !still.matches) view.glide = { from: latentNow(), since: performance.now() };
    view.free = null;
    changed();
  }

  const roll = () => sow(String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000));

  /** Insert the visible picture as a keyframe, after the keyframe that the walk has passed. */
  function keep() {
    const latent = latentNow();
    const behind = view.free || !segments() || !through() ? walk.keyframes.length : Math.floor(view.t * segments()) + 1;
    walk.keyframes.splice(behind, 0, { latent: Float32Array.from(latent) });
    view.free = view.glide = null;
    changed();
    if (through()) seek(behind / Math.max(1, segments()));
    show();
    strip.list.children[behind].scrollIntoView({ block: "nearest", inline: "nearest" });
    toast(`Keyframe ${behind + 1} added`);
  }

  const strip = new Strip($("strip"), thumbnail, {
    choose(i) {
      if (!through()) return moveTo(latentOf(walk.keyframes[i], info.z_dim)); // the path does not pass through this keyframe
      view.playing = false;
      seek(Math.min(1, i / Math.max(1, segments())));
      show();
    },
    reorder(from, to) {
      walk.keyframes.splice(to, 0, ...walk.keyframes.splice(from, 1));
      changed();
    },
    remove(i) {
      const least = leastKeyframes(walk.path);
      if (walk.keyframes.length <= least) return toast(`This path needs ${least === 1 ? "one keyframe" : "two keyframes"}.`);
      walk.keyframes.splice(i, 1);
      changed();
    },
  });

  const names = info.class_names;
  const classes = new ClassList($("classes"), names, (labels) => {
    walk.labels = labels;
    changed();
  });
  $("class-add").addEventListener("click", () => classes.add());

  async function thumbnail(keyframe, canvas, i) {
    canvas.width = info.width;
    canvas.height = info.height;
    const weights = weightsAt(Math.min(1, i / Math.max(1, segments())));
    const name = `${walk.truncation} ${walk.truncation < 1 ? walk.seed : ""} ${weights} ${keyframe.latent ?? `${keyframe.seed}.${keyframe.index}`}`;
    if (!thumbnails.has(name)) {
      if (thumbnails.size > 200) thumbnails.clear();
      const [data] = await generator.frames([near(latentOf(keyframe, info.z_dim))], [weights]);
      thumbnails.set(name, data);
    }
    canvas.getContext("2d").putImageData(thumbnails.get(name), 0, 0);
  }

  // The picture.

  async function paint() {
    const columns = view.nine ? 3 : 1;
    const latents = view.nine ? nineWalks.map((of) => of(view.t * segments())) : [latentNow()];
    const weights = weightsAt(view.t);
    const data = await generator.frames(latents.map(near), latents.map(() => weights));
    const side = { width: info.width * columns, height: info.height * columns };
    const zoom = view.crisp ? 1 : Math.ceil(enlarge / columns);
    if (picture.width !== side.width * zoom) picture.width = side.width * zoom;
    if (picture.height !== side.height * zoom) picture.height = side.height * zoom;
    const context = picture.getContext("2d");
    context.imageSmoothingEnabled = !view.crisp;
    context.imageSmoothingQuality = "high";
    const gap = view.nine ? zoom : 0;
    if (gap) context.clearRect(0, 0, picture.width, picture.height);
    for (const [cell, one] of data.entries()) {
      small.getContext("2d").putImageData(one, 0, 0);
      const [x, y] = [(cell % columns) * info.width, Math.floor(cell / columns) * info.height];
      context.drawImage(small, x * zoom + gap, y * zoom + gap, info.width * zoom - 2 * gap, info.height * zoom - 2 * gap);
    }
    if (shownFrames++ % 4 === 0) $("glow").getContext("2d").drawImage(small, 0, 0, 8, 8);
  }

  let last = performance.now();
  async function tick(now) {
    requestAnimationFrame(tick);
    const elapsed = Math.min(0.25, Math.max(0, (now - last) / 1000)); // the first `now` may be earlier than `last`
    last = now;
    if (view.playing && !view.recording && !view.free) {
      view.t += elapsed / duration();
      if (walk.closed) view.t %= 1;
      else if (view.t >= 1) {
        view.t = 1;
        view.playing = false;
        show();
      }
      dirty = true;
    }
    if ((!dirty && !view.glide) || busy || view.recording) return;
    busy = true;
    dirty = false;
    try {
      await paint();
      document.documentElement.dataset.frames = shownFrames; // read by tests and benchmarks
    } catch (error) {
      view.playing = false;
      toast(`The generator failed: ${error.message ?? error}`);
    }
    busy = false;
    clocks(now);
  }

  function clocks(now) {
    if (document.activeElement !== $("seek") || view.playing) $("seek").value = view.t;
    filled($("seek"));
    $("clock").value = `${(view.t * duration()).toFixed(1)} / ${duration().toFixed(1)} s`;
    $("mixture").value = walk.labels.length > 1 ? mixture(weightsAt(view.t), names) : "";
    const nearest = Math.round(view.t * segments());
    strip.near(view.free || !through() ? -1 : walk.closed ? nearest % walk.keyframes.length : nearest);
    if (now - shownSince > 1000) {
      const fps = ((shownFrames - (clocks.from ?? 0)) * 1000) / (now - shownSince);
      $("status").textContent = view.playing ? `${fps.toFixed(0)} frames/s` : "";
      [shownSince, clocks.from] = [now, shownFrames];
    }
  }

  // A drag turns the latent about the origin of latent space. Each drag draws two new axes for it.

  let drag = null;
  let drags = 0;
  picture.addEventListener("pointerdown", (event) => {
    if (event.button || view.recording) return;
    if (view.nine) return pick(event);
    picture.setPointerCapture(event.pointerId);
    picture.classList.add("held");
    $("hint").classList.add("gone");
    const from = Float32Array.from(latentNow());
    drag = { id: event.pointerId, x: event.clientX, y: event.clientY, from, axes: axesAt(from, ++drags) };
  });
  picture.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drag?.id) return;
    const side = picture.getBoundingClientRect().width / DRAG_RADIANS;
    const [x, y] = [(event.clientX - drag.x) / side, (event.clientY - drag.y) / side];
    if (!view.free && Math.hypot(x, y) < 0.01) return; // a tap
    moveTo(turned(drag.from, drag.axes, x, y));
  });
  for (const type of ["pointerup", "pointercancel"]) {
    picture.addEventListener(type, (event) => {
      if (event.pointerId !== drag?.id) return;
      if (!view.free && type === "pointerup") play(!view.playing);
      drag = null;
      picture.classList.remove("held");
    });
  }

  function moveTo(latent) {
    const first = !view.free;
    Object.assign(view, { free: latent, glide: null, playing: false });
    dirty = true;
    $("hint").classList.add("gone");
    if (first) show();
  }

  function nudge(x, y) {
    const from = Float32Array.from(latentNow());
    moveTo(turned(from, axesAt(from, 0), x, y));
  }

  function pick(event) {
    const box = picture.getBoundingClientRect();
    const cell = 3 * Math.floor((3 * (event.clientY - box.top)) / box.height) + Math.floor((3 * (event.clientX - box.left)) / box.width);
    view.nine = false;
    if (cell > 0) sow(seedAfter(cell));
    else show();
  }

  // Recording, loading and saving the walk, copying the link.

  let format = null;
  const film = { width: info.width * enlarge, height: info.height * enlarge };
  bestFormat(film.width, film.height).then((found) => {
    format = found;
    $("record").disabled = !found;
    $("record-note").textContent = found ? `${found.container}, ${film.width} × ${film.height}, ${FPS} frames/s` : "This browser cannot encode video.";
    if (!found) $("record-text").textContent = "Record";
    show();
  });

  async function recorded() {
    const frames = framesOf(walk);
    view.recording = new AbortController();
    show();
    $("record-progress").hidden = false;
    const canvas = new OffscreenCanvas(film.width, film.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = !view.crisp;
    context.imageSmoothingQuality = "high";
    const draw = async (i) => {
      const z = path(position(i, frames, walk.keyframes.length, walk.closed));
      const [data] = await generator.frames([near(z)], [weightsAt(partOf(i, frames))]);
      small.getContext("2d").putImageData(data, 0, 0);
      context.drawImage(small, 0, 0, film.width, film.height);
      if (i % 8 === 0) picture.getContext("2d").drawImage(small, 0, 0, picture.width, picture.height);
      return context.getImageData(0, 0, film.width, film.height).data;
    };
    const comment = toJson(walk, info);
    const onProgress = (done) => ($("record-progress").value = done / frames);
    const settings = { format, frames, fps: FPS, ...film, draw, comment, version: info.vidgan_version, onProgress };
    try {
      return await record({ ...settings, signal: view.recording.signal });
    } finally {
      view.recording = null;
      $("record-progress").hidden = true;
      $("record-progress").value = 0;
      show();
    }
  }

  async function recordAndSave() {
    if (view.recording) return view.recording.abort();
    try {
      save(await recorded(), `walk-${walk.seed}.${format.container.toLowerCase()}`);
    } catch (error) {
      toast(error.name === "AbortError" ? "Recording stopped" : `No film was made: ${error.message}`);
    }
  }

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    toast(`Saved ${name}`);
  }

  async function load(file) {
    try {
      Object.assign(walk, fromJson(await file.text(), info));
      Object.assign(view, { t: 0, free: null, glide: null });
      changed();
      toast(`Loaded ${file.name}`);
    } catch (error) {
      toast(error.message);
    }
  }

  async function copyLink() {
    history.replaceState(null, "", toHash(walk));
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    toast(copied ? "Link copied: it holds this walk" : "The address bar holds this walk");
  }

  // Controls and keys.

  async function fullScreen() {
    const frame = $("frame");
    if (document.fullscreenElement) return document.exitFullscreen();
    if (frame.classList.contains("fills")) return frame.classList.remove("fills");
    await frame.requestFullscreen?.().catch(() => {});
    if (!document.fullscreenElement) frame.classList.add("fills"); // on iPhones a page cannot go full screen
  }

  function toggle(key) {
    if (key === "closed") walk.closed = !walk.closed || ALWAYS_CLOSED.includes(walk.path);
    else view[key] = !view[key];
    if (key === "nine") {
      view.free = view.glide = null; // all nine walks are shown on their paths
      $("hint").classList.add("gone");
    }
    key === "closed" ? changed() : show();
  }

  function setTruncation(value) {
    walk.truncation = value;
    clearTimeout(setTruncation.later);
    setTruncation.later = setTimeout(() => strip.show(walk.keyframes, used(walk.path, walk.keyframes.length)), 300);
    show();
  }

  const actions = { play: () => play(!view.playing), roll, add: keep, keep, return: () => play(true), full: fullScreen, record: recordAndSave, link: copyLink };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  for (const [id, key] of [["loop", "closed"], ["crisp", "crisp"], ["nine", "nine"]]) $(id).addEventListener("click", () => toggle(key));
  $("truncation").addEventListener("input", (event) => setTruncation(event.target.valueAsNumber));
  $("speed").addEventListener("input", (event) => {
    walk.speed = 2 ** event.target.valueAsNumber;
    show();
  });
  $("path").addEventListener("change", (event) => {
    const path = event.target.value;
    if (walk.keyframes.length < leastKeyframes(path)) toast("This path needs two keyframes.");
    else walk.path = path;
    changed();
  });
  $("seek").addEventListener("input", (event) => {
    seek(event.target.valueAsNumber);
    if (view.playing) play(false);
  });
  $("seed-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const seed = checkedSeed($("seed").value);
    $("seed").classList.toggle("wrong", seed === null);
    if (seed === null) return toast("A seed is a whole number from 0 to 2⁶⁴ − 1.");
    $("seed").blur();
    sow(seed);
  });
  $("seed").addEventListener("change", () => $("seed-form").requestSubmit());
  $("save").addEventListener("click", () => save(new Blob([toJson(walk, info)], { type: "application/json" }), `walk-${walk.seed}.json`));
  $("load").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) load(file);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) load(event.dataTransfer.files[0]);
  });
  addEventListener("hashchange", () => {
    const given = fromHash(location.hash, info);
    if (given && toHash(given) !== toHash(walk)) {
      Object.assign(walk, given);
      changed();
    }
  });

  const frameBack = (by) => {
    view.playing = false;
    const t = view.t + by / Math.max(1, framesOf(walk));
    seek(walk.closed ? (t + 1) % 1 : Math.min(1, Math.max(0, t)));
    show();
  };
  const keys = {
    " ": () => play(!view.playing), r: roll, k: keep, l: () => toggle("closed"), c: () => toggle("crisp"),
    g: () => toggle("nine"), f: fullScreen, "?": () => $("help").showModal(),
    ArrowLeft: () => frameBack(-1), ArrowRight: () => frameBack(1),
    Escape: () => $("frame").classList.remove("fills"),
  };
  const nudges = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea") && event.target.type !== "range";
    const arrow = nudges[event.key];
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (arrow && event.target.type === "range") return;
    if (event.key === " " && event.target.matches("button")) return; // the space bar presses that button
    const action = arrow && event.shiftKey ? () => nudge(arrow[0] * 0.05, arrow[1] * 0.05) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // Set up the page once.

  document.documentElement.style.setProperty("--aspect", info.width / info.height);
  $("class-group").hidden = !info.classes;
  $("about").textContent = `${info.width} × ${info.height} pixels, every one made up by a neural network. ${generator.runsOn}.`;
  setTimeout(() => $("hint").classList.add("gone"), 6000);
  changed();
  requestAnimationFrame(tick);
  return {
    walk, generator,
    latent: (i) => near(path(position(i, framesOf(walk), walk.keyframes.length, walk.closed))),
    weights: (i) => weightsAt(partOf(i, framesOf(walk))),
  };
}

/** The smallest factor, 1 or even, that brings the short side of a picture to at least FILM_SIDE. */
function enlargement({ width, height }) {
  const scale = Math.ceil(FILM_SIDE / Math.min(width, height));
  return scale === 1 ? 1 : scale + (scale % 2);
}

export function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("shown");
  clearTimeout(toast.later);
  toast.later = setTimeout(() => $("toast").classList.remove("shown"), 3200);
}

/** Set up the controls that need no generator, then open the generator and start the page. */
export async function boot(open) {
  document.body.classList.add("loading");
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  try {
    window.vidgan = start(await open()); // for the browser's console and for tests
    $("status").textContent = "";
  } catch (error) {
    $("status").textContent = "This page could not start.";
    toast(`${error.message ?? error}. It needs a browser of 2024 or later with WebAssembly.`);
    throw error;
  } finally {
    document.body.classList.remove("loading");
  }
}
