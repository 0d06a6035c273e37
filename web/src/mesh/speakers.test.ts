import { expect, test } from "vitest";
import { createSpeakers, levelOf } from "./speakers.ts";

test("who is loud speaks, and still does in the pause between two words", () => {
  const speakers = createSpeakers();
  expect(
    speakers.hear(
      [
        ["ada", 0.2],
        ["grace", 0.001],
      ],
      0,
    ),
  ).toBe(true);
  expect([speakers.speaking("ada"), speakers.speaking("grace")]).toEqual([true, false]);
  expect(
    speakers.hear(
      [
        ["ada", 0],
        ["grace", 0],
      ],
      500,
    ),
  ).toBe(false);
  expect(speakers.speaking("ada")).toBe(true);
  expect(
    speakers.hear(
      [
        ["ada", 0],
        ["grace", 0],
      ],
      1_000,
    ),
  ).toBe(true);
  expect(speakers.speaking("ada")).toBe(false);
});

test("who has left does not speak", () => {
  const speakers = createSpeakers();
  speakers.hear([["ada", 0.2]], 0);
  expect(speakers.hear([], 100)).toBe(true);
  expect(speakers.speaking("ada")).toBe(false);
});

test("a receiver without sources is silent", () => {
  expect(levelOf(undefined)).toBe(0);
  expect(levelOf({ getSynchronizationSources: () => [] })).toBe(0);
  const source = { audioLevel: 0.5 } as RTCRtpSynchronizationSource;
  expect(levelOf({ getSynchronizationSources: () => [source] })).toBe(0.5);
});
