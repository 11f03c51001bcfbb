"use strict";

const RETRY_MS = 1000;
const CLIPPED_TOO_MUCH = 0.001, DARK_TOO_MUCH = 0.5;
const $ = (id) => document.getElementById(id);

let state = {};
let bestFocus = 0;
let pictureUrl = null;
let said = "";
let toldMessage = null;
let stepping = false;

const shots = new ShotList($("shots"), (name) => {
  $("repeat").querySelector("span").textContent = name ? `${stepping ? "Show" : "Repeat"} ${name}` : "Repeat the selected shot";
  $("repeat").disabled = !name;
});

function say(text, tone = "") {
  if (text === said) return;
  said = text;
  $("message").textContent = text;
  $("message").className = tone;
}

async function call(name, body) {
  try {
    const answer = await fetch(`api/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });
    const told = await answer.json();
    if (!answer.ok) say(told.message ?? `${name} was not understood`, "bad");
  } catch {
    say("The server does not answer. Is lps rig still running?", "bad");
  }
}

const actions = {
  start: () => call("start"),
  stop: () => call("stop"),
  repeat: () => shots.selected && call("repeat", { shot: shots.selected }),
  confirm: () => state.waiting_for && call("confirm", { layers: state.waiting_for.layers }),
};

function layersInWords(layers) {
  return layers === 0 ? "no film" : layers === 1 ? "1 layer of film" : `${layers} layers of film`;
}

function phase(text, tone) {
  $("phase").textContent = text;
  $("phase").className = `state ${tone}`;
}

function update(told) {
  state = told;
  const list = told.shots ?? [];
  const count = (status) => list.filter((shot) => shot.status === status).length;
  $("session").textContent = told.session ?? "no session";
  $("session").title = told.session ?? "";
  const waiting = told.waiting_for ?? null;
  phase(waiting ? "Waiting for film" : told.phase || (told.running ? "Running" : "Stopped"), told.phase === "failed" ? "bad" : waiting ? "warn" : told.running ? "good" : "quiet");
  const failed = count("failed");
  $("count").textContent = list.length ? `${count("done")} of ${list.length} done${failed ? `, ${failed} failed` : ""}` : "";
  $("progress").max = Math.max(1, list.length);
  $("progress").value = count("done");
  stepping = Boolean(told.stepping);
  $("start").querySelector("span").textContent = stepping ? "Show next" : "Start";
  $("stop").querySelector("span").textContent = stepping ? "Dark" : "Stop";
  $("start").disabled = Boolean(told.running) && !stepping;
  $("stop").disabled = !told.running && !stepping;
  if (told.message && told.message !== toldMessage) say(told.message, told.phase === "failed" ? "bad" : "");
  toldMessage = told.message;
  prompted(waiting);
  shots.update(list, told.current ?? null);
  checked(told.checks ?? []);
  displayed(told.display ?? {});
  const camera = told.camera ?? {};
  $("no-camera").textContent = told.camera_fault || (stepping ? "No camera: targets are shown by hand." : "No picture from the camera yet.");
  $("no-camera").hidden = pictureUrl !== null && !told.camera_fault;
  const simulated = camera.simulated && !/simulated/i.test(camera.name) ? ", simulated" : "";
  $("camera-facts").textContent = camera.name ? `${camera.name}${simulated}, ${camera.width} × ${camera.height}` : "";
}

function prompted(waiting) {
  const opens = $("prompt").hidden && waiting !== null;
  $("prompt").hidden = waiting === null;
  if (waiting === null) return;
  const film = layersInWords(waiting.layers);
  $("prompt-title").textContent = waiting.layers === 0 ? "Take the film off" : `Put ${film} on`;
  $("prompt-text").textContent = "Move neither camera nor screen. Then confirm, and the run goes on.";
  $("confirm").querySelector("span").textContent = waiting.layers === 0 ? "No film is on" : `${film} ${waiting.layers === 1 ? "is" : "are"} on`;
  if (opens) say(`${$("prompt-title").textContent}, then confirm.`, "warn");
}

function checked(checks) {
  const bad = checks.filter((check) => check.status !== "ok");
  $("checks-count").textContent = checks.length ? `${checks.length - bad.length} of ${checks.length} pass` : "";
  const told = JSON.stringify(bad);
  if ($("checks").dataset.told !== told) {
    $("checks").dataset.told = told;
    $("checks").replaceChildren(...bad.map(checkItem));
  }
  const good = checks.filter((check) => check.status === "ok").map((check) => check.name);
  $("sound").textContent = good.length ? `Passed: ${good.join(", ")}.` : checks.length ? "" : "Nothing is checked yet.";
}

function checkItem(check) {
  const item = document.createElement("li");
  const failed = check.status === "failed";
  item.className = failed ? "bad" : "warn";
  const line = (name, text) => {
    const paragraph = document.createElement("p");
    paragraph.className = name;
    paragraph.textContent = text;
    item.append(paragraph);
  };
  line("verdict", `${failed ? "Failed" : "Warning"}: ${check.name}`);
  if (check.text) line("", check.text);
  if (check.cure) line("cure", check.cure);
  if (check.shot) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Repeat ${check.shot}`;
    button.addEventListener("click", () => call("repeat", { shot: check.shot }));
    item.append(button);
  }
  return item;
}

function displayed(display) {
  const open = Boolean(display.connected);
  const fault = !open ? "" : !display.visible ? "behind another window" : !display.one_to_one ? "not pixel for pixel" : !display.full_screen ? "not full screen" : "";
  $("display-state").textContent = !open ? "not open" : fault || "ready";
  $("display-state").className = `state ${!open || display.one_to_one === false ? "bad" : fault ? "warn" : "good"}`;
  const facts = $("display-facts");
  facts.replaceChildren();
  if (open) {
    const rate = display.refresh_hz ? `, ${display.refresh_hz.toFixed(1)} Hz` : "";
    facts.textContent = `${display.width_px} × ${display.height_px} screen pixels, pixel ratio ${display.device_pixel_ratio}${rate}, ${display.agent} at ${display.address}`;
  } else if (display.url) {
    const code = document.createElement("code");
    code.textContent = display.url;
    facts.append("Open on the screen to be filmed: ", code);
  }
  const told = JSON.stringify(display.notices ?? []);
  if ($("notices").dataset.told !== told) {
    $("notices").dataset.told = told;
    $("notices").replaceChildren(...(display.notices ?? []).slice().reverse().map((notice) => {
      const item = document.createElement("li");
      item.textContent = notice;
      return item;
    }));
  }
}

function seen(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const url = URL.createObjectURL(new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }));
  const older = pictureUrl;
  pictureUrl = url;
  $("camera").onload = () => older && URL.revokeObjectURL(older);
  $("camera").src = url;
  $("camera").hidden = false;
  $("no-camera").hidden = true;
  drawHistogram($("histogram"), told.histogram);
  $("histogram").setAttribute("aria-label", histogramInWords(told.histogram));
  const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 2 : 0)} %`;
  $("clipped").textContent = percent(told.clipped_share);
  $("clipped").className = `number ${told.clipped_share > CLIPPED_TOO_MUCH ? "bad" : ""}`;
  $("dark").textContent = percent(told.dark_share);
  bestFocus = Math.max(bestFocus, told.focus);
  const focus = bestFocus > 0 ? Math.round(100 * told.focus / bestFocus) : 0;
  $("focus").textContent = `${focus} %`;
  $("focus-meter").value = focus;
  const advice = told.clipped_share > CLIPPED_TOO_MUCH
    ? "White is clipped: shorten the exposure or lower the gain."
    : told.dark_share > DARK_TOO_MUCH ? "Most of the picture is black: lengthen the exposure, or wait for a brighter target." : "Exposure is in range.";
  if ($("exposure-advice").textContent !== advice) $("exposure-advice").textContent = advice;
}

function connect() {
  const address = new URL("operator", location.href);
  address.protocol = "ws:";
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => (typeof event.data === "string" ? update(JSON.parse(event.data)) : seen(event.data));
  socket.onclose = () => {
    phase("Connection lost", "bad");
    say("The server does not answer; trying again. What is recorded stays.", "bad");
    toldMessage = null;
    $("start").disabled = $("stop").disabled = $("repeat").disabled = true;
    setTimeout(connect, RETRY_MS);
  };
}

for (const [name, action] of Object.entries(actions)) $(name).addEventListener("click", action);
$("help").addEventListener("click", () => $("keys").showModal());
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  if (event.key === "?") $("keys").showModal();
  if (!$("single-keys").checked) return;
  const name = { s: "start", x: "stop", r: "repeat", c: "confirm" }[event.key.toLowerCase()];
  if (name && !event.repeat && !$(name).disabled) actions[name]();
});

connect();
