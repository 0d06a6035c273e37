/** What we send: microphone, camera, screen, each switched by the user, and each able to go away by itself. */
import { createEvents, type Events } from "./events.ts";
import { type Choice, capture, captureScreen, type Devices, type MediaProblem } from "./media.ts";
import type { Tracks } from "./peer.ts";
import type { MediaState } from "./protocol.ts";

/** What is switched while a device is being asked for is switched as soon as the device is there, or not. */
export interface LocalMedia {
  readonly on: Events<{ change: undefined }>["on"];
  tracks(): Tracks;
  state(): MediaState;
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

export function createLocalMedia(devices: Devices | undefined, preferred: Choice = {}): LocalMedia {
  const events = createEvents<{ change: undefined }>();
  let tracks: Tracks = { audio: null, camera: null, screen: null };
  let choice = preferred;
  let problem: MediaProblem | null = null;
  let hand: number | null = null;
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
        if (slot !== "screen") problem = "missing";
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

    start: (wanted = { audio: true, camera: true }) =>
      ask(async () => {
        const got = await capture(devices, wanted, choice);
        problem = got.problem;
        put("audio", got.audio);
        put("camera", got.camera);
      }),

    async setAudio(on) {
      await settled();
      if (tracks.audio) {
        tracks.audio.enabled = on; // kept open: unmuting must be instant
        changed();
      } else if (on) {
        await ask(async () => {
          const got = await capture(devices, { audio: true, camera: false }, choice);
          problem = got.problem;
          put("audio", got.audio);
        });
      }
    },

    async setCamera(on) {
      await settled();
      if (!on) {
        put("camera", null);
        changed();
      } else if (!tracks.camera) {
        await ask(async () => {
          const got = await capture(devices, { audio: false, camera: true }, choice);
          problem = got.problem;
          put("camera", got.camera);
        });
      }
    },

    async setScreen(on) {
      put("screen", on ? await captureScreen(devices) : null);
      changed();
    },

    async choose(slot, deviceId) {
      choice = { ...choice, [slot]: deviceId };
      await settled();
      const present = tracks[slot];
      if (!present) return;
      const { enabled } = present;
      await ask(async () => {
        // Phones open one camera at a time, and some drivers one microphone.
        if (slot === "camera") present.stop();
        const got = await capture(devices, { audio: slot === "audio", camera: slot === "camera" }, choice);
        problem = got.problem;
        const track = got[slot];
        if (track) track.enabled = enabled;
        if (track || slot === "camera") put(slot, track);
      });
    },

    setHand(up) {
      hand = up ? (hand ?? Date.now()) : null;
      changed();
    },

    stop() {
      for (const slot of ["audio", "camera", "screen"] as const) put(slot, null);
      stopped = true;
      changed();
    },
  };
}
