import { expect, test } from "vitest";
import { createHearing, patienceMs } from "./hearing.ts";

test("who sends sound that does not come is not heard, after a while", () => {
  const { judge } = createHearing();
  expect(judge(true, true, 0)).toBe(true);
  expect(judge(true, false, 1_000)).toBe(true);
  expect(judge(true, false, 1_000 + patienceMs)).toBe(false);
  expect(judge(true, true, 20_000)).toBe(true);
  expect(judge(true, false, 21_000)).toBe(true);
});

test("where nothing is sent, or nothing is known, nothing is missed", () => {
  const { judge } = createHearing();
  for (const now of [0, 100_000]) expect(judge(false, false, now)).toBe(true);
  for (const now of [200_000, 300_000]) expect(judge(true, null, now)).toBe(true);
  expect(judge(true, false, 400_000)).toBe(true); // it has just begun to speak
});
