import { expect, test } from "vitest";
import { fingerprintsIn, safetyNumber, speaksFor } from "./trust.ts";

const ada = "sha-256 1A:2B:3C";
const eve = "sha-256 FF:EE:DD";
const sdp = (...lines: string[]) => ["v=0", "m=audio 9 X 0", ...lines, "a=mid:0", ""].join("\r\n");

test("an SDP with the fingerprint of the roster is hers", () => {
  expect(speaksFor(sdp(`a=fingerprint:${ada}`), ada)).toBe(true);
  expect(speaksFor(sdp(`a=fingerprint:${ada}`, "m=video 9 X 0", `a=fingerprint:${ada}`), ada)).toBe(true);
  expect(speaksFor(sdp("a=fingerprint:SHA-256 1a:2b:3c"), ada)).toBe(true);
});

test.each([
  ["another fingerprint", sdp(`a=fingerprint:${eve}`)],
  ["another one beside it", sdp(`a=fingerprint:${ada}`, "m=video 9 X 0", `a=fingerprint:${eve}`)],
  ["one of another kind beside it", sdp(`a=fingerprint:${ada}`, "a=fingerprint:sha-1 AA:BB")],
  ["another one behind a bare line feed", `v=0\r\na=fingerprint:${ada}\na=fingerprint:${eve}\r\n`],
  ["one behind a space", sdp(`a=fingerprint:${ada}`, ` a=fingerprint:${eve}`)],
  ["none", sdp()],
])("an SDP with %s is refused", (_, text) => {
  expect(speaksFor(text, ada)).toBe(false);
});

test("a fingerprint is found once, in one form", () => {
  expect(fingerprintsIn(sdp("a=fingerprint:SHA-256 aa:bb", "a=fingerprint:sha-256 AA:BB"))).toEqual([
    "sha-256 AA:BB",
  ]);
});

test("the safety number is the same for all, in whatever order they see each other", async () => {
  const number = await safetyNumber([ada, eve]);
  expect(number).toMatch(/^\d{5}( \d{5}){11}$/);
  expect(await safetyNumber([eve, ada])).toBe(number);
});

// Programs of others compute it, too.
test("the safety number is this one for these certificates", async () => {
  expect(await safetyNumber([eve, "SHA-256 1a:2b:3c"])).toBe(
    "52133 91720 35550 70516 49585 60394 94330 80949 98071 70848 21884 13880",
  );
});

test("one other certificate makes another number", async () => {
  expect(await safetyNumber([ada, "sha-256 FF:EE:DC"])).not.toBe(await safetyNumber([ada, eve]));
});

test("someone without a fingerprint leaves the meeting without a number", async () => {
  expect(await safetyNumber([ada, ""])).toBeNull();
});
