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
