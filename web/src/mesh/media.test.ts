import { expect, test } from "vitest";
import { capture, type Devices } from "./media.ts";

const track = (kind: string) => ({ kind }) as MediaStreamTrack;

/** A machine that has, and lets us use, just these. */
function machine(has: { audio?: true; video?: true }, error = "NotFoundError") {
  const asked: string[] = [];
  const devices: Pick<Devices, "getUserMedia"> = {
    async getUserMedia(wanted = {}) {
      const kinds = (["audio", "video"] as const).filter((kind) => wanted[kind]);
      asked.push(kinds.join("+"));
      if (kinds.some((kind) => !has[kind])) throw Object.assign(new Error(), { name: error });
      const of = (kind: string) => kinds.filter((other) => other === kind).map(track);
      return { getAudioTracks: () => of("audio"), getVideoTracks: () => of("video") } as MediaStream;
    },
  };
  return { devices: devices as Devices, asked };
}

test("microphone and camera are asked for together", async () => {
  const { devices, asked } = machine({ audio: true, video: true });
  expect(await capture(devices)).toMatchObject({
    audio: { kind: "audio" },
    camera: { kind: "video" },
    problem: null,
  });
  expect(asked).toEqual(["audio+video"]);
});

test("without a camera, the microphone alone, and why", async () => {
  const { devices } = machine({ audio: true });
  expect(await capture(devices)).toMatchObject({
    audio: { kind: "audio" },
    camera: null,
    problem: "missing",
  });
});

test("without a microphone, the camera alone", async () => {
  const { devices } = machine({ video: true });
  expect(await capture(devices)).toMatchObject({
    audio: null,
    camera: { kind: "video" },
    problem: "missing",
  });
});

test("refused, one watches", async () => {
  const { devices } = machine({}, "NotAllowedError");
  expect(await capture(devices)).toEqual({ audio: null, camera: null, problem: "denied" });
});

test("a page without HTTPS has no devices at all", async () => {
  expect(await capture(undefined)).toEqual({ audio: null, camera: null, problem: "insecure" });
});

test("only what is wanted is asked for", async () => {
  const { devices, asked } = machine({ audio: true, video: true });
  expect(await capture(devices, { audio: false, camera: true })).toMatchObject({
    audio: null,
    problem: null,
  });
  expect(asked).toEqual(["video"]);
});

test("a chosen device that is gone is replaced by any, the other one stays chosen", async () => {
  const asked: MediaStreamConstraints[] = [];
  const idOf = (wanted: boolean | MediaTrackConstraints | undefined) =>
    (wanted as { deviceId?: { exact: string } }).deviceId?.exact;
  const devices = {
    async getUserMedia(wanted: MediaStreamConstraints) {
      asked.push(wanted);
      if (idOf(wanted.video)) throw Object.assign(new Error(), { name: "OverconstrainedError" });
      return { getAudioTracks: () => [track("audio")], getVideoTracks: () => [track("video")] };
    },
  } as unknown as Devices;
  const got = await capture(devices, { audio: true, camera: true }, { audio: "headset", camera: "gone" });
  expect(got).toMatchObject({ camera: { kind: "video" }, problem: null });
  expect(asked.map(({ audio, video }) => [idOf(audio), idOf(video)])).toEqual([
    ["headset", "gone"],
    ["headset", undefined],
  ]);
});
