import { expect, test } from "vitest";
import { createGauge } from "./quality.ts";

type Fields = Record<string, unknown>;

/** The statistics of a connection, as Chromium writes them. */
function report({
  inbound = {},
  outbound = {},
  remote = {},
  pair = {},
  candidate = {},
}: Record<string, Fields> = {}) {
  const entries = [
    { id: "T", type: "transport", selectedCandidatePairId: "P" },
    {
      id: "P",
      type: "candidate-pair",
      currentRoundTripTime: 0.03,
      availableOutgoingBitrate: 1_500_000,
      localCandidateId: "L",
      remoteCandidateId: "R",
      ...pair,
    },
    { id: "L", type: "local-candidate", candidateType: "host", protocol: "udp", ...candidate },
    { id: "R", type: "remote-candidate", candidateType: "host", protocol: "udp" },
    { id: "C", type: "codec", mimeType: "video/VP8" },
    {
      id: "I",
      type: "inbound-rtp",
      kind: "video",
      codecId: "C",
      frameWidth: 640,
      frameHeight: 360,
      ...inbound,
    },
    { id: "O", type: "outbound-rtp", kind: "video", codecId: "C", ...outbound },
    { id: "X", type: "remote-inbound-rtp", kind: "video", fractionLost: 0, ...remote },
  ];
  return new Map<string, unknown>(entries.map((entry) => [entry.id, entry]));
}

test("rates and loss are those between two readings", () => {
  const gauge = createGauge();
  const at = (packetsReceived: number, packetsLost: number, bytesReceived: number, bytesSent: number) =>
    report({ inbound: { packetsReceived, packetsLost, bytesReceived }, outbound: { bytesSent } });
  gauge.read(at(1_000, 500, 1_000_000, 0), 10_000);
  expect(gauge.read(at(1_095, 505, 1_100_000, 50_000), 12_000)).toMatchObject({
    lossIn: 0.05,
    kbpsIn: 400,
    kbpsOut: 200,
    level: "fair",
  });
});

test("whether sound has come is known from the second reading on", () => {
  const gauge = createGauge();
  const at = (bytesReceived: number) => report({ inbound: { kind: "audio", bytesReceived } });
  const heard = [at(100), at(200), at(200), at(300)].map((stats, i) => gauge.read(stats, i).soundIn);
  expect(heard).toEqual([null, true, false, true]);
  expect(gauge.read(report({ inbound: { bytesReceived: 900 } }), 5).soundIn).toBe(false); // a picture
});

test("a good connection tells its way, codec and size", () => {
  expect(createGauge().read(report(), 0)).toMatchObject({
    level: "good",
    rttMs: 30,
    route: "direct",
    transport: "udp",
    availableKbps: 1_500,
    videoIn: { codec: "VP8", width: 640, height: 360 },
    videoOut: null,
  });
});

test("a TURN server on the way is said", () => {
  const turned = report({ candidate: { candidateType: "relay", relayProtocol: "tcp" } });
  expect(createGauge().read(turned, 0)).toMatchObject({ route: "relay", transport: "tcp" });
});

test.each([
  ["much loss on the way out", { remote: { fractionLost: 0.2 } }, "poor"],
  ["a long way", { pair: { currentRoundTripTime: 0.3 } }, "fair"],
  ["a very long way", { pair: { currentRoundTripTime: 0.7 } }, "poor"],
])("%s is noticed", (_, what, level) => {
  expect(createGauge().read(report(what as Record<string, Fields>), 0).level).toBe(level);
});

test("a connection built anew counts from nothing, and nothing is made of that", () => {
  const gauge = createGauge();
  gauge.read(report({ inbound: { bytesReceived: 900_000 } }), 0);
  expect(gauge.read(report({ inbound: { bytesReceived: 10 } }), 2_000)).toMatchObject({
    kbpsIn: 0,
    lossIn: null,
  });
});

test("without a connection there is nothing to know", () => {
  expect(createGauge().read(new Map(), 0)).toMatchObject({ level: "unknown", rttMs: null, route: null });
});
