"use strict";

// Pictures arrive as PNG over a websocket, are drawn in one animation frame and confirmed in the next one, when the
// browser has handed the drawn frame to the screen.

const REFUSED = 4001, REPLACED = 4002;
const RETRY_MS = [250, 500, 1000, 2000];
const REFRESHES_MEASURED = 90;

const stage = document.getElementById("stage");
const canvas = document.getElementById("picture");
const context = canvas.getContext("2d", { alpha: false, colorSpace: "srgb" });
const text = (id, value) => { document.getElementById(id).textContent = value; };

const page = {
  width: Math.round(innerWidth * devicePixelRatio),
  height: Math.round(innerHeight * devicePixelRatio),
  exact: true,
  refreshMs: null,
};
let socket = null;
let retries = 0;
let still = null;      // decoded, waits for an animation frame
let run = null;        // playback
let confirmation = null; // of what was drawn in the last animation frame
let toldFacts = "";

// A page that was reloaded is the same display; a duplicated tab, which inherits the name, is another one.
const [entry] = performance.getEntriesByType("navigation");
let named = entry && entry.type === "reload";

function displayName() {
  const kept = sessionStorage.getItem("display");
  if (kept && named) return kept;
  named = true;
  const name = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("display", name);
  return name;
}

function browserName() {
  const agent = navigator.userAgent;
  const known = /(Firefox|Edg|HeadlessChrome|Chrome|Version)\/(\d+)/.exec(agent);
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|CrOS|Linux)/.exec(agent);
  const browser = known ? `${known[1].replace("Version", "Safari").replace("Edg", "Edge")} ${known[2]}` : "browser";
  return system ? `${browser} on ${system[1]}` : browser;
}

function facts() {
  const filled = innerWidth === screen.width && innerHeight === screen.height;
  return {
    width_px: page.width,
    height_px: page.height,
    device_pixel_ratio: devicePixelRatio,
    refresh_hz: page.refreshMs === null ? null : Math.round(1e5 / page.refreshMs) / 100,
    full_screen: document.fullscreenElement !== null || filled,
    one_to_one: oneToOne(),
    visible: document.visibilityState === "visible",
    agent: browserName(),
  };
}

function oneToOne() {
  const zoom = window.visualViewport ? visualViewport.scale : 1;
  return page.exact && zoom === 1 && canvas.width <= page.width && canvas.height <= page.height;
}

function tellFacts() {
  const now = facts();
  text("size", `${now.width_px} × ${now.height_px}`);
  text("ratio", now.device_pixel_ratio.toFixed(2).replace(/\.?0+$/, ""));
  text("refresh", now.refresh_hz === null ? "measuring…" : `${now.refresh_hz.toFixed(1)} Hz`);
  text("full", now.full_screen ? "yes" : "no");
  text("exact", now.one_to_one ? "yes" : "no: reset the zoom (Ctrl+0)");
  document.getElementById("enter").hidden = now.full_screen;
  const message = JSON.stringify({ type: "facts", ...now });
  if (message !== toldFacts && send(message)) toldFacts = message;
}

function send(message) {
  if (socket === null || socket.readyState !== WebSocket.OPEN) return false;
  socket.send(typeof message === "string" ? message : JSON.stringify(message));
  return true;
}

function card(headline, advice) {
  text("headline", headline);
  text("advice", advice);
  document.body.classList.remove("showing");
}

function connect(takesOver = false) {
  document.getElementById("again").hidden = document.getElementById("take").hidden = true;
  const address = new URL("display", location.href);
  address.protocol = "ws:";
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    toldFacts = "";
    send({ display: displayName(), takes_over: takesOver, ...facts() });
  };
  socket.onmessage = (event) => (typeof event.data === "string" ? heard(JSON.parse(event.data)) : received(event.data));
  socket.onclose = (event) => {
    if (event.target !== socket) return; // this page has asked again meanwhile
    still = run = confirmation = null;
    if (event.code === REFUSED || event.code === REPLACED) {
      if (event.code === REPLACED) card("Open elsewhere", "Another page is the display now. Close this one, or press T to take its place.");
      document.getElementById("again").hidden = document.getElementById("take").hidden = false;
      return;
    }
    card("Connection lost", "Trying again. Is lps rig still running?");
    setTimeout(() => connect(), RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)]);
  };
}

function heard(message) {
  if (message.type === "welcome") {
    retries = 0;
    still = run = confirmation = null;
    dark();
    card("Ready", "Put this page on the screen that the camera looks at, full screen, brightness fixed, night light off.");
    tellFacts();
  } else if (message.type === "refused") {
    card("Turned away", message.message);
    document.getElementById("again").hidden = document.getElementById("take").hidden = false;
  } else if (message.type === "play") {
    still = null;
    run = { number: message.run, fps: message.fps, ahead: message.ahead, kept: new Map(), next: 0, count: null, startMs: null };
    document.body.classList.add("showing");
    dark();
  } else if (message.type === "end" && run && message.run === run.number) {
    run.count = message.count;
  } else if (message.type === "stop" && run && message.run === run.number) {
    run = confirmation = null;
    dark();
  }
}

async function received(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const from = socket;
  let bitmap;
  try {
    const file = new Uint8Array(buffer, 4 + length);
    const picture = new Blob([file], { type: file[0] === 0xff ? "image/jpeg" : "image/png" });
    bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch (error) {
    send({ type: "failed", message: `picture ${header.number} could not be decoded: ${error}` });
    return;
  }
  if (from !== socket) return;
  if (header.type === "show") {
    run = null;
    still = { number: header.number, label: header.label, bitmap, sinceMs: performance.now() };
  } else if (run && header.run === run.number) {
    run.kept.set(header.number, bitmap);
  }
}

function draw(bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    place();
  }
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
}

function dark() {
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function place() {
  const css = (pixels) => `${pixels / devicePixelRatio}px`;
  canvas.style.width = css(canvas.width);
  canvas.style.height = css(canvas.height);
  canvas.style.left = css(Math.max(0, Math.floor((page.width - canvas.width) / 2)));
  canvas.style.top = css(Math.max(0, Math.floor((page.height - canvas.height) / 2)));
}

function showStill(now) {
  draw(still.bitmap);
  document.body.classList.add("showing");
  canvas.setAttribute("aria-label", still.label || `Picture ${still.number}`);
  const missed = page.refreshMs === null ? 0 : Math.max(0, Math.floor((now - still.sinceMs) / page.refreshMs));
  confirmation = { type: "shown", number: still.number, missed };
  still = null;
}

function playNext(now) {
  const refresh = page.refreshMs ?? 1000 / 60;
  if (run.startMs === null) {
    if (run.count === null && run.kept.size < run.ahead) return;
    run.startMs = now;
  }
  const late = now - (run.startMs + 1000 * run.next / run.fps);
  if (late < -refresh / 2) return;
  if (run.next === run.count) {
    dark();
    confirmation = { type: "ended", run: run.number };
    run = null;
    return;
  }
  const bitmap = run.kept.get(run.next);
  if (!bitmap) return;
  run.kept.delete(run.next);
  draw(bitmap);
  confirmation = { type: "played", run: run.number, number: run.next, missed: Math.max(0, Math.round(late / refresh)) };
  if (late > 1000 / run.fps) { // too much to catch up with: rushed pictures would be worse than a pause
    run.startMs += late;
    confirmation.paused_s = late / 1000;
  }
  run.next += 1;
}

const intervals = [];
let lastMs = null;

function measure(now) {
  if (lastMs !== null && now > lastMs) intervals.push(now - lastMs);
  lastMs = now;
  if (intervals.length < REFRESHES_MEASURED) return;
  const median = [...intervals].sort((a, b) => a - b)[REFRESHES_MEASURED >> 1];
  const refreshes = intervals.reduce((sum, interval) => sum + Math.round(interval / median), 0);
  page.refreshMs = intervals.reduce((sum, interval) => sum + interval, 0) / refreshes; // finer than the clock's steps
  intervals.length = 0;
  tellFacts();
}

function tick(now) {
  requestAnimationFrame(tick);
  if (confirmation !== null) {
    send({ ...confirmation, one_to_one: oneToOne() });
    confirmation = null;
  }
  measure(now);
  if (still !== null) showStill(now);
  else if (run !== null) playNext(now);
}

function takeOver() {
  if (!document.getElementById("take").hidden) connect(true);
}

function enterFullScreen() {
  if (document.fullscreenElement === null) {
    document.documentElement.requestFullscreen({ navigationUI: "hide" }).catch((error) => {
      send({ type: "failed", message: `full screen was refused: ${error.message}` });
    });
  }
  if (navigator.wakeLock) {
    navigator.wakeLock.request("screen").catch((error) => {
      send({ type: "failed", message: `the screen may fall asleep: ${error.message}` });
    });
  }
}

function screenPixels(entry) {
  const worked = [entry.contentRect.width * devicePixelRatio, entry.contentRect.height * devicePixelRatio];
  const box = entry.devicePixelContentBoxSize && entry.devicePixelContentBoxSize[0];
  const told = box && [box.inlineSize, box.blockSize];
  // rounding makes less than a pixel; more means that the box knows nothing of the ratio, as under device emulation
  return told && told.every((pixels, i) => Math.abs(pixels - worked[i]) <= 1) ? told : worked.map(Math.round);
}

function observe() {
  const observer = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const [width, height] = screenPixels(entry);
      if (entry.target === stage) Object.assign(page, { width, height });
      else page.exact = width === canvas.width && height === canvas.height;
    }
    place();
    tellFacts();
  });
  for (const element of [stage, canvas]) {
    try {
      observer.observe(element, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(element); // a browser without that box: the size is worked out from the pixel ratio
    }
  }
}

document.getElementById("enter").addEventListener("click", enterFullScreen);
document.getElementById("again").addEventListener("click", () => connect());
document.getElementById("take").addEventListener("click", takeOver);
stage.addEventListener("click", (event) => { if (!event.target.closest("button")) enterFullScreen(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "f" || (key === "enter" && !event.target.closest("button"))) enterFullScreen();
  if (key === "t") takeOver();
  const by = { arrowright: 1, arrowdown: 1, arrowleft: -1, arrowup: -1 }[key];
  if (by) send({ type: "step", by });
});
document.addEventListener("fullscreenchange", tellFacts);
document.addEventListener("visibilitychange", tellFacts);
if (window.visualViewport) visualViewport.addEventListener("resize", tellFacts);

observe();
requestAnimationFrame(tick);
connect();
