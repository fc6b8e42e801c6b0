// This machine's camera and microphone: tried out before one enters, and chosen again inside.

import { LockgateError, devices, meter, openCamera, openMicrophone } from "/sdk/index.js";
import { $, make, notify } from "./dom.js";
import { explain } from "./words.js";

const KINDS = [
  { kind: "camera", list: "cameras", open: openCamera },
  { kind: "microphone", list: "microphones", open: openMicrophone },
];

/**
 * The devices that are open. `changed(kind)` is called when one was opened, closed or replaced.
 * Before the meeting they belong to the preview; inside, `room` publishes them.
 */
export class Devices {
  #changed;
  #tracks = {};
  #opening = {};
  #stopMeter;
  #meters = [];

  constructor(changed) {
    this.#changed = changed;
    for (const { kind } of KINDS) {
      $(`with-${kind}`).addEventListener("change", () => this.#onWished(kind));
      for (const select of this.#selects(kind)) select.addEventListener("change", () => this.#onChosen(kind, select.value));
    }
    for (const select of this.#selects("speaker")) select.addEventListener("change", () => this.#onSpeaker(select.value));
    navigator.mediaDevices?.addEventListener("devicechange", () => this.list());
  }

  track(kind) {
    return this.#tracks[kind];
  }

  /** Opens what is wished for, shows it, and tells what does not work beside it. */
  async preview() {
    await Promise.all(KINDS.map(({ kind }) => $(`with-${kind}`).checked && this.#tryOut(kind)));
    await this.list();
  }

  /** Opens a device, unless it is open. */
  async open(kind) {
    if (this.#tracks[kind]?.readyState === "live") return this.#tracks[kind];
    this.#opening[kind] ??= this.#openNew(kind, this.#selects(kind)[0].value).finally(() => (this.#opening[kind] = undefined));
    return this.#opening[kind];
  }

  close(kind) {
    this.#tracks[kind]?.stop();
    this.#set(kind, undefined);
  }

  closeAll() {
    for (const { kind } of KINDS) this.close(kind);
  }

  /** Where sound comes out, for elements that play some. */
  get speaker() {
    return this.#selects("speaker")[0].value;
  }

  /** Shows the microphone's level in a meter element. */
  showLevel(element) {
    this.#meters.push(element);
  }

  /** Fills the pickers with what there is now. */
  async list() {
    if (!navigator.mediaDevices) return;
    const all = await devices();
    const named = [...KINDS.map(({ kind, list }) => [kind, all[list]]), ["speaker", all.speakers]];
    for (const [kind, list] of named) {
      const current = this.#tracks[kind]?.getSettings().deviceId;
      for (const select of this.#selects(kind)) fill(select, kind, list, current);
    }
  }

  async #openNew(kind, deviceId) {
    const { open } = KINDS.find((one) => one.kind === kind);
    const track = await open({ deviceId });
    this.#set(kind, track);
    return track;
  }

  #set(kind, track) {
    this.#tracks[kind] = track;
    // What the browser ended by itself is not there any more.
    track?.addEventListener("ended", () => this.#tracks[kind] === track && this.#set(kind, undefined), { once: true });
    if (kind === "microphone") this.#measure(track);
    this.#changed(kind, track);
  }

  #measure(track) {
    this.#stopMeter?.();
    const show = (level) => this.#meters.forEach((element) => (element.value = level));
    show(0);
    this.#stopMeter = track && meter(track, show);
  }

  async #onWished(kind) {
    $("device-problem").hidden = true;
    if ($(`with-${kind}`).checked) await this.#tryOut(kind);
    else this.close(kind);
  }

  async #tryOut(kind) {
    try {
      await this.open(kind);
    } catch (error) {
      $(`with-${kind}`).checked = false;
      $("device-problem").hidden = false;
      $("device-problem").textContent = `${kind === "camera" ? "Camera" : "Microphone"}: ${explain(error)}`;
    }
  }

  /** Another device is opened before the one before is let go of: if it cannot be, nothing has changed. */
  async #onChosen(kind, deviceId) {
    for (const select of this.#selects(kind)) select.value = deviceId;
    const before = this.#tracks[kind];
    if (!before) return;
    try {
      await this.#openNew(kind, deviceId);
      before.stop();
    } catch (error) {
      notify(explain(LockgateError.from(error, "device")));
      await this.list();
    }
  }

  #onSpeaker(deviceId) {
    for (const select of this.#selects("speaker")) select.value = deviceId;
    this.#changed("speaker");
  }

  /** One picker stands in the lobby, one in the settings. */
  #selects(kind) {
    return [...document.querySelectorAll(`select[data-device="${kind}"]`)];
  }
}

function fill(select, kind, list, current) {
  const chosen = current ?? select.value;
  const options = list.map(({ deviceId, label }, index) => make("option", { value: deviceId, text: label || `${NAMES[kind]} ${index + 1}` }));
  if (options.length === 0) options.push(make("option", { value: "", text: `No ${kind} was found` }));
  select.replaceChildren(...options);
  if (list.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
  // Not every browser lets pages choose where sound comes out.
  const choosable = kind !== "speaker" || "setSinkId" in HTMLMediaElement.prototype;
  select.closest("label").hidden = !choosable;
  select.disabled = list.length === 0;
}

const NAMES = { camera: "Camera", microphone: "Microphone", speaker: "Speaker" };
