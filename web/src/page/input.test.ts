import { expect, test } from "vitest";
import { trimmed, trimmedLink } from "./input.ts";

const unseen = [
  "\u200b",
  "\u3164",
  "\uffa0",
  "\u2800",
  "\u00ad",
  "\u2060",
  "\ufe0f",
  "\u{e0041}",
  "\ufeff",
  "\u034f",
  "\u115f",
  "\u17b4",
  "\u{1d159}",
  "\u180e",
  "\u00a0",
  "\u200d",
  "\u{e0100}",
];

test.each(unseen)("%j is no text", (c) => {
  expect(trimmed(c)).toBe("");
  expect(trimmed(` ${c}\t${c}`)).toBe("");
  expect(trimmed(`${c}Ada`)).toBe("Ada");
  expect(trimmedLink(`${c} https://example.org/m/k${c}\n`)).toBe("https://example.org/m/k");
});

test("what belongs to the last character stays", () => {
  for (const name of [
    "I ❤\ufe0f",
    "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "ന്\u200d",
    "辻\u{e0101}",
    "👩\u200d👧",
  ]) {
    expect(trimmed(` ${name}\u200b `)).toBe(name);
  }
});

test("what other programs put around a link goes", () => {
  expect(trimmedLink("\u202ahttps://example.org/m/k\u202c")).toBe("https://example.org/m/k");
});
