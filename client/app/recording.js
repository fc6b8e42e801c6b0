// Whether the meeting is recorded: the button, the bar that says so, and the question to those who are.

import { $, notify } from "./dom.js";
import { RECORDING_WORDS } from "./words.js";

/** What the page shows and asks about recordings of the room that one is in. */
export class RecordingBar {
  #room;
  /** Whether one has agreed to what is recorded now, by an answer or by recording oneself: then one is not asked. */
  #agrees = false;

  /** `guard` runs an action and tells what goes wrong; `leave` is what those do who do not agree. */
  constructor({ guard, leave }) {
    $("toggle-recording").addEventListener("click", () => guard(() => this.#toggle()));
    $("agree").addEventListener("click", () => this.#agree());
    $("disagree").addEventListener("click", leave);
  }

  /** Before the room is entered: whoever comes into a recording is told at once. */
  begin(room) {
    this.#room = room;
    room.on("recording", (recording) => room === this.#room && this.#show(recording));
  }

  clear() {
    this.#room = undefined;
    this.#show({ state: "stopped" });
  }

  /** Who records agrees with being recorded, and is not asked: where a plugin wants that said, nobody would be recorded otherwise. */
  async #toggle() {
    const room = this.#room;
    if (isOn(room.recording)) return room.stopRecording();
    this.#agrees = true;
    if (room.grants.canRecord) await room.consentToRecording().catch(() => {});
    try {
      await room.startRecording();
    } catch (error) {
      if (room === this.#room) {
        this.#agrees = false;
        // Somebody else's may have begun meanwhile.
        this.#show(room.recording);
      }
      throw error;
    }
  }

  /** Where a plugin asks for consent, it is told; elsewhere whoever stays is recorded, and has been told so. */
  async #agree() {
    $("consent").hidden = true;
    this.#agrees = true;
    $("toggle-microphone").focus();
    await this.#room.consentToRecording().catch(() => {});
  }

  #show(recording) {
    const { state, reason } = recording;
    const on = isOn(recording);
    $("recording").hidden = !(state in RECORDING_WORDS);
    $("recording").classList.toggle("live", state === "recording");
    $("recording-text").textContent = RECORDING_WORDS[state] ?? "";
    $("toggle-recording").setAttribute("aria-pressed", on);
    $("toggle-recording").classList.toggle("recording", on);
    $("toggle-recording").querySelector("span").textContent = on ? "Stop recording" : "Record";
    $("consent").hidden = !on || this.#agrees;
    if (state === "stopped" || state === "failed") this.#agrees = false;
    if (state === "failed") notify(`The recording failed: ${reason ?? "no reason was given"}.`);
  }
}

/** Whether it has begun and does not end. */
const isOn = ({ state }) => state === "starting" || state === "recording";
