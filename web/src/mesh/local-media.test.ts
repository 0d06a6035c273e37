import { expect, test } from "vitest";
import { createLocalMedia } from "./local-media.ts";
import type { Devices } from "./media.ts";

type Fake = MediaStreamTrack & { stopped: boolean };

function fakeTrack(kind: string): Fake {
  const track = { kind, enabled: true, stopped: false, onended: null, stop: () => {} };
  track.stop = () => {
    track.stopped = true;
  };
  return track as unknown as Fake;
}

/** A machine with everything; `made` is every track it ever gave. */
function machine() {
  const made: Fake[] = [];
  const asked: MediaStreamConstraints[] = [];
  const give = (kind: string) => {
    const track = fakeTrack(kind);
    made.push(track);
    return track;
  };
  const stream = (audio: boolean, video: boolean) => {
    const [a, v] = [audio ? [give("audio")] : [], video ? [give("video")] : []];
    return { getAudioTracks: () => a, getVideoTracks: () => v } as unknown as MediaStream;
  };
  const devices: Devices = {
    getUserMedia: async (wanted = {}) => {
      asked.push(wanted);
      return stream(Boolean(wanted.audio), Boolean(wanted.video));
    },
    getDisplayMedia: async () => stream(false, true),
  };
  return { devices, made, asked };
}

test("starts with microphone and camera on", async () => {
  const local = createLocalMedia(machine().devices);
  await local.start();
  expect(local.state()).toEqual({ audio: true, video: true, screen: false, hand: null });
});

test("mute keeps the microphone open, and silent", async () => {
  const { devices, made } = machine();
  const local = createLocalMedia(devices);
  await local.start();
  await local.setAudio(false);
  expect(made[0]).toMatchObject({ kind: "audio", enabled: false, stopped: false });
  expect(local.state().audio).toBe(false);
  await local.setAudio(true);
  expect(local.state().audio).toBe(true);
  expect(made.length).toBe(2);
});

test("camera off stops the camera, on asks for it anew", async () => {
  const { devices, made } = machine();
  const local = createLocalMedia(devices);
  await local.start();
  await local.setCamera(false);
  expect(made[1]).toMatchObject({ kind: "video", stopped: true });
  expect(local.tracks().camera).toBeNull();
  await local.setCamera(true);
  expect(local.tracks().camera).toBe(made[2]);
});

test("what is switched while the devices are asked for holds when they come, and asks for nothing twice", async () => {
  const { devices, made } = machine();
  const local = createLocalMedia(devices);
  const starting = local.start();
  await Promise.all([local.setAudio(true), local.setCamera(false), starting]);
  expect(local.state()).toMatchObject({ audio: true, video: false });
  expect(made.length).toBe(2);
  expect(made[1]).toMatchObject({ kind: "video", stopped: true });
});

/** As a machine, but what is asked for comes only when `give` is called. */
function slowMachine() {
  const { devices, made, asked } = machine();
  let waiting: (() => void)[] = [];
  const slow: Devices = {
    getUserMedia: async (wanted) => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return devices.getUserMedia(wanted);
    },
    getDisplayMedia: async (wanted) => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return devices.getDisplayMedia(wanted);
    },
  };
  const give = async () => {
    for (let i = 0; i < 10; i++) await Promise.resolve();
    for (const resolve of waiting) resolve();
    waiting = [];
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  return { devices: slow, made, asked, give };
}

test("a microphone on its way is switched on already, and a press mutes it", async () => {
  const { devices, made, give } = slowMachine();
  const local = createLocalMedia(devices);
  const starting = local.start();
  expect(local.wish()).toEqual({ audio: true, camera: true });
  expect(local.state()).toMatchObject({ audio: false, video: false });
  await local.setAudio(false); // it does not wait for the device
  expect(local.wish()).toEqual({ audio: false, camera: true });
  await give();
  await starting;
  expect(local.state()).toMatchObject({ audio: false, video: true });
  expect(made[0]).toMatchObject({ kind: "audio", enabled: false, stopped: false });
});

test("the last of several presses counts, and nothing is asked for twice", async () => {
  const { devices, made, asked, give } = slowMachine();
  const local = createLocalMedia(devices);
  const presses = [local.start(), local.setCamera(false), local.setCamera(true), local.setAudio(false)];
  presses.push(local.setAudio(true), local.setCamera(true));
  await give();
  await Promise.all(presses);
  expect(local.state()).toMatchObject({ audio: true, video: true });
  expect([asked.length, made.length]).toEqual([1, 2]);
});

test("a microphone is muted at once, also while a camera is asked for", async () => {
  const { devices, give } = slowMachine();
  const local = createLocalMedia(devices);
  const starting = local.start();
  await give();
  await starting;
  const choosing = local.choose("camera", "rear");
  await local.setAudio(false);
  expect(local.state().audio).toBe(false);
  await local.setCamera(false);
  expect(local.state().video).toBe(false);
  await give();
  await choosing;
  expect(local.state()).toMatchObject({ audio: false, video: false });
});

test("a device that cannot be had, or is unplugged, is switched off", async () => {
  const refused = () => Promise.reject(Object.assign(new Error(), { name: "NotAllowedError" }));
  const local = createLocalMedia({ getUserMedia: refused, getDisplayMedia: refused });
  const starting = local.start();
  expect(local.wish()).toEqual({ audio: true, camera: true });
  await starting;
  expect(local.wish()).toEqual({ audio: false, camera: false });

  const { devices, made } = machine();
  const other = createLocalMedia(devices);
  await other.start();
  made[0]?.onended?.(new Event("ended"));
  expect(other.wish()).toEqual({ audio: false, camera: true });
});

test("one press to share a screen asks once, and what was stopped meanwhile does not begin", async () => {
  const { devices, made, give } = slowMachine();
  const local = createLocalMedia(devices);
  const presses = [local.setScreen(true), local.setScreen(true)];
  await give();
  await Promise.all(presses);
  expect(made.length).toBe(1);
  await local.setScreen(false);
  presses.push(local.setScreen(true), local.setScreen(false));
  await give();
  await Promise.all(presses);
  expect(local.state().screen).toBe(false);
  expect(made.map(({ stopped }) => stopped)).toEqual([true, true]);
});

test("is busy until it is known what there is", async () => {
  const local = createLocalMedia(machine().devices);
  expect(local.busy()).toBe(true);
  const starting = local.start();
  expect(local.busy()).toBe(true);
  await starting;
  expect(local.busy()).toBe(false);
});

test("an unplugged camera is off, and the reason known", async () => {
  const { devices, made } = machine();
  const local = createLocalMedia(devices);
  await local.start();
  made[1]?.onended?.(new Event("ended"));
  expect(local.state().video).toBe(false);
  expect(local.problem()).toBe("missing");
});

test("sharing that the browser's own bar ends is over here, too", async () => {
  const { devices, made } = machine();
  const local = createLocalMedia(devices);
  await local.setScreen(true);
  expect(local.state().screen).toBe(true);
  made[0]?.onended?.(new Event("ended"));
  expect(local.state().screen).toBe(false);
  expect(local.problem()).toBeNull();
});

test("another camera takes the place of the first, by its id", async () => {
  const { devices, made, asked } = machine();
  const local = createLocalMedia(devices);
  await local.start();
  await local.choose("camera", "rear");
  expect(asked.at(-1)).toMatchObject({ video: { deviceId: { exact: "rear" } } });
  expect(local.tracks().camera).toBe(made[2]);
  expect(made[1]).toMatchObject({ stopped: true });
});

test("another microphone is as muted as the first was", async () => {
  const { devices, made } = machine();
  const local = createLocalMedia(devices);
  await local.start();
  await local.setAudio(false);
  await local.choose("audio", "headset");
  expect(made[0]).toMatchObject({ stopped: true });
  expect(made[2]).toMatchObject({ kind: "audio", enabled: false });
});

test("a camera chosen while it is off is the one that is switched on", async () => {
  const { devices, asked } = machine();
  const local = createLocalMedia(devices, { camera: "front" });
  await local.start();
  expect(asked[0]).toMatchObject({ video: { deviceId: { exact: "front" } } });
  await local.setCamera(false);
  await local.choose("camera", "rear");
  expect(asked.length).toBe(1);
  await local.setCamera(true);
  expect(asked[1]).toMatchObject({ video: { deviceId: { exact: "rear" } } });
});

test("a hand goes up once, and down", () => {
  const local = createLocalMedia(machine().devices);
  local.setHand(true);
  const since = local.state().hand;
  expect(since).not.toBeNull();
  local.setHand(true);
  expect(local.state().hand).toBe(since);
  local.setHand(false);
  expect(local.state().hand).toBeNull();
});

test("a device that is granted after stopping is let go at once", async () => {
  const { devices, made } = machine();
  const local = createLocalMedia(devices);
  const starting = local.start();
  local.stop();
  await starting;
  expect(made.map((track) => track.stopped)).toEqual([true, true]);
  expect(local.tracks()).toEqual({ audio: null, camera: null, screen: null });
});
