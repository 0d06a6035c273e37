/** What we send: microphone, camera, screen, each switched by the user, and each able to go away by itself. */
import { createEvents, type Events } from "./events.ts";
import { type Choice, capture, captureScreen, type Devices, type MediaProblem } from "./media.ts";
import type { Tracks } from "./peer.ts";
import type { MediaState } from "./protocol.ts";

/** A switch works at once: what it says of a device that is still being asked for holds when the device is there. */
export interface LocalMedia {
  readonly on: Events<{ change: undefined }>["on"];
  tracks(): Tracks;
  state(): MediaState;
  /** What is switched on: sent already, or as soon as its device is there. */
  wish(): { audio: boolean; camera: boolean };
  /** Why a device that was wanted is not there; null while all is well. */
  problem(): MediaProblem | null;
  /** A device is being asked for, or nothing was asked for yet. */
  busy(): boolean;
  /** Asks for microphone and camera, or for one of them. */
  start(wanted?: { audio: boolean; camera: boolean }): Promise<void>;
  setAudio(on: boolean): Promise<void>;
  /** Off stops the camera, so that its light goes out. */
  setCamera(on: boolean): Promise<void>;
  setScreen(on: boolean): Promise<void>;
  /** Takes another microphone or camera, now if one is open, else when next asked. Off stays off. */
  choose(slot: "audio" | "camera", deviceId: string): Promise<void>;
  setHand(up: boolean): void;
  stop(): void;
}

type Switched = "audio" | "camera";

export function createLocalMedia(devices: Devices | undefined, preferred: Choice = {}): LocalMedia {
  const events = createEvents<{ change: undefined }>();
  let tracks: Tracks = { audio: null, camera: null, screen: null };
  let wish = { audio: false, camera: false };
  let choice = preferred;
  let problem: MediaProblem | null = null;
  let hand: number | null = null;
  let picking = false;
  let asking = 0;
  let asked: Promise<void> | null = null;
  let stopped = false;

  const changed = () => events.emit("change", undefined);

  function put(slot: keyof Tracks, track: MediaStreamTrack | null): void {
    if (stopped) {
      track?.stop();
      return;
    }
    if (tracks[slot] !== track) tracks[slot]?.stop();
    tracks = { ...tracks, [slot]: track };
    if (track) {
      // Unplugged, or "stop sharing" in the browser's own bar.
      track.onended = () => {
        if (tracks[slot] !== track) return;
        if (slot !== "screen") {
          problem = "missing";
          wish = { ...wish, [slot]: false };
        }
        put(slot, null);
        changed();
      };
    }
  }

  /** One at a time: two that ask at once would each open the device. */
  function ask(work: () => Promise<void>): Promise<void> {
    const before = asked;
    asking++;
    changed();
    asked = (async () => {
      await before;
      await work();
      asking--;
      changed();
    })();
    return asked;
  }

  const settled = async () => {
    if (asking > 0) await asked;
  };

  /** What was switched meanwhile counts, and not what was asked for. */
  function arrived(slot: Switched, track: MediaStreamTrack | null): void {
    if (slot === "camera" && !wish.camera) {
      track?.stop();
      return;
    }
    if (!track) wish = { ...wish, [slot]: false };
    else if (slot === "audio") track.enabled = wish.audio;
    put(slot, track);
  }

  async function open(slot: Switched): Promise<void> {
    if (tracks[slot] || !wish[slot]) return;
    const got = await capture(devices, { audio: slot === "audio", camera: slot === "camera" }, choice);
    problem = got.problem;
    arrived(slot, got[slot]);
  }

  const isOn = (track: MediaStreamTrack | null) => track?.enabled === true;

  return {
    on: events.on,
    tracks: () => tracks,
    problem: () => problem,
    busy: () => asked === null || asking > 0,
    state: () => ({
      audio: isOn(tracks.audio),
      video: isOn(tracks.camera),
      screen: tracks.screen !== null,
      hand,
    }),

    wish: () => wish,

    start(wanted = { audio: true, camera: true }) {
      wish = { ...wanted };
      return ask(async () => {
        const got = await capture(devices, wanted, choice);
        problem = got.problem;
        for (const slot of ["audio", "camera"] as const) if (wanted[slot]) arrived(slot, got[slot]);
      });
    },

    async setAudio(on) {
      wish = { ...wish, audio: on };
      if (tracks.audio) tracks.audio.enabled = on; // kept open: unmuting must be instant
      changed();
      if (on && !tracks.audio) await ask(() => open("audio"));
    },

    async setCamera(on) {
      wish = { ...wish, camera: on };
      if (!on) put("camera", null);
      changed();
      if (on && !tracks.camera) await ask(() => open("camera"));
    },

    async setScreen(on) {
      if (on && picking) return; // the browser asks already
      picking = on;
      const track = on ? await captureScreen(devices) : null;
      if (on && !picking) {
        track?.stop(); // switched off meanwhile
        return;
      }
      picking = false;
      put("screen", track);
      changed();
    },

    async choose(slot, deviceId) {
      choice = { ...choice, [slot]: deviceId };
      await settled();
      const present = tracks[slot];
      if (!present) return;
      await ask(async () => {
        if (tracks[slot] !== present) return;
        // Phones open one camera at a time, and some drivers one microphone.
        if (slot === "camera") present.stop();
        const got = await capture(devices, { audio: slot === "audio", camera: slot === "camera" }, choice);
        problem = got.problem;
        if (got[slot] || slot === "camera") arrived(slot, got[slot]);
      });
    },

    setHand(up) {
      hand = up ? (hand ?? Date.now()) : null;
      changed();
    },

    stop() {
      for (const slot of ["audio", "camera", "screen"] as const) put(slot, null);
      wish = { audio: false, camera: false };
      picking = false;
      stopped = true;
      changed();
    },
  };
}
