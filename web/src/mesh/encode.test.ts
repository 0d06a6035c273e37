import { expect, test } from "vitest";
import type { Shape } from "./budget.ts";
import { encode } from "./encode.ts";

function sender(settings: { width: number; height: number } | null, encodings: object[] = [{}]) {
  const state = { encodings, calls: 0 };
  const fake = {
    track: settings && { getSettings: () => settings },
    getParameters: () => ({ encodings: state.encodings.map((encoding) => ({ ...encoding })) }),
    async setParameters(parameters: { encodings: object[] }) {
      state.calls++;
      state.encodings = parameters.encodings;
    },
  };
  return { sender: fake as unknown as RTCRtpSender, state };
}

const shape: Shape = {
  audioKbps: 40,
  camera: { active: true, maxKbps: 500, height: 360, fps: 24 },
  screen: { active: false, maxKbps: 0, height: Number.POSITIVE_INFINITY, fps: 5 },
};

test("a picture is sent as small as decided, whichever way the phone is held", async () => {
  for (const settings of [
    { width: 1280, height: 720 },
    { width: 720, height: 1280 },
  ]) {
    const camera = sender(settings);
    await encode({ camera: camera.sender }, shape);
    expect(camera.state.encodings[0]).toMatchObject({
      active: true,
      maxBitrate: 500_000,
      maxFramerate: 24,
      scaleResolutionDownBy: 2,
    });
  }
});

test("a small picture is not made larger", async () => {
  const camera = sender({ width: 160, height: 120 });
  await encode({ camera: camera.sender }, shape);
  expect(camera.state.encodings[0]).toMatchObject({ scaleResolutionDownBy: 1 });
});

test("what nobody shows is not sent, and sound goes first", async () => {
  const [audio, screen] = [sender(null), sender(null)];
  await encode({ audio: audio.sender, screen: screen.sender }, shape);
  expect(screen.state.encodings[0]).toMatchObject({ active: false });
  expect(audio.state.encodings[0]).toMatchObject({ priority: "high", networkPriority: "high" });
});

test("what is so already is not set again, what is not negotiated yet is left", async () => {
  const camera = sender({ width: 1280, height: 720 });
  await encode({ camera: camera.sender }, shape);
  await encode({ camera: camera.sender }, shape);
  expect(camera.state.calls).toBe(1);
  const early = sender(null, []);
  await encode({ camera: early.sender }, shape);
  expect(early.state.calls).toBe(0);
});
