/** How well a connection goes, read from its statistics. */

export interface Stream {
  codec: string;
  width: number;
  height: number;
  fps: number;
}

export interface Quality {
  level: "unknown" | "good" | "fair" | "poor";
  /** There and back, in ms. */
  rttMs: number | null;
  /** Share of the packets that got lost on the way to us, and on the way from us; 0–1. */
  lossIn: number | null;
  lossOut: number | null;
  /** Sound has come since the reading before; null: there was none. */
  soundIn: boolean | null;
  kbpsIn: number;
  kbpsOut: number;
  /** What the browser believes gets through from us, in kbit/s. */
  availableKbps: number | null;
  /** Straight, or through a TURN server. */
  route: "direct" | "relay" | null;
  transport: string;
  audioCodec: string;
  videoIn: Stream | null;
  videoOut: Stream | null;
}

export const unknownQuality: Quality = {
  level: "unknown",
  rttMs: null,
  lossIn: null,
  lossOut: null,
  soundIn: null,
  kbpsIn: 0,
  kbpsOut: 0,
  availableKbps: null,
  route: null,
  transport: "",
  audioCodec: "",
  videoIn: null,
  videoOut: null,
};

/** One entry of an RTCStatsReport; which fields it has depends on the browser. */
type Entry = Record<string, unknown> & { id: string; type: string };

interface Counters {
  at: number;
  bytesIn: number;
  soundIn: number;
  bytesOut: number;
  packetsIn: number;
  lostIn: number;
}

export interface Gauge {
  /** `at` in ms, from any clock that only goes forward. */
  read(report: Iterable<[string, unknown]>, at: number): Quality;
}

/** Rates need two readings: a gauge keeps the one before. */
export function createGauge(): Gauge {
  let before: Counters | undefined;
  return {
    read(report, at) {
      const entries = new Map(report) as Map<string, Entry>;
      const all = (type: string) => [...entries.values()].filter((entry) => entry.type === type);
      const [inbound, outbound] = [all("inbound-rtp"), all("outbound-rtp")];
      const counters: Counters = {
        at,
        bytesIn: sum(inbound, "bytesReceived"),
        soundIn: sum(
          inbound.filter((entry) => entry.kind === "audio"),
          "bytesReceived",
        ),
        bytesOut: sum(outbound, "bytesSent"),
        packetsIn: sum(inbound, "packetsReceived"),
        lostIn: sum(inbound, "packetsLost"),
      };
      // A rebuilt connection counts from nothing again.
      const last = before && before.bytesIn <= counters.bytesIn ? before : undefined;
      before = counters;
      const pair = selectedPair(entries, all("transport"), all("candidate-pair"));
      const relayed = [pair?.localCandidateId, pair?.remoteCandidateId].map(
        (id) => entries.get(String(id)) ?? ({} as Entry),
      );
      const remote = all("remote-inbound-rtp");
      const rtt = number(pair?.currentRoundTripTime) ?? number(remote[0]?.roundTripTime);
      const quality: Quality = {
        level: "unknown",
        rttMs: rtt === null ? null : Math.round(rtt * 1_000),
        lossIn: lossBetween(last, counters),
        lossOut: greatest(remote.map((entry) => number(entry.fractionLost))),
        soundIn: last ? counters.soundIn > last.soundIn : null,
        kbpsIn: rate(last?.bytesIn, counters.bytesIn, last?.at, at),
        kbpsOut: rate(last?.bytesOut, counters.bytesOut, last?.at, at),
        availableKbps: kilo(number(pair?.availableOutgoingBitrate)),
        route: pair ? (relayed.some((end) => end.candidateType === "relay") ? "relay" : "direct") : null,
        transport: String(relayed[0]?.relayProtocol ?? relayed[0]?.protocol ?? ""),
        audioCodec: codecOf(
          entries,
          inbound.find((entry) => entry.kind === "audio"),
        ),
        videoIn: stream(entries, inbound),
        videoOut: stream(entries, outbound),
      };
      return { ...quality, level: judge(quality) };
    },
  };
}

/** People notice loss first, then delay. */
function judge({ rttMs, lossIn, lossOut, route }: Quality): Quality["level"] {
  if (route === null) return "unknown";
  const loss = Math.max(lossIn ?? 0, lossOut ?? 0);
  if (loss > 0.08 || (rttMs ?? 0) > 500) return "poor";
  return loss > 0.02 || (rttMs ?? 0) > 250 ? "fair" : "good";
}

function selectedPair(entries: Map<string, Entry>, transports: Entry[], pairs: Entry[]): Entry | undefined {
  const named = transports.map((entry) => entries.get(String(entry.selectedCandidatePairId)));
  return (
    named.find((entry) => entry !== undefined) ??
    pairs.find((pair) => pair.selected === true) ?? // Firefox
    pairs.find((pair) => pair.nominated === true && pair.state === "succeeded")
  );
}

/** The largest picture under way, a screen before a face. */
function stream(entries: Map<string, Entry>, list: Entry[]): Stream | null {
  const shown = list
    .filter((entry) => entry.kind === "video" && (number(entry.frameHeight) ?? 0) > 0)
    .filter((entry) => entry.active !== false)
    .sort((a, b) => (number(b.frameHeight) ?? 0) - (number(a.frameHeight) ?? 0))[0];
  if (!shown) return null;
  return {
    codec: codecOf(entries, shown),
    width: number(shown.frameWidth) ?? 0,
    height: number(shown.frameHeight) ?? 0,
    fps: Math.round(number(shown.framesPerSecond) ?? 0),
  };
}

const codecOf = (entries: Map<string, Entry>, entry: Entry | undefined) =>
  String(entries.get(String(entry?.codecId))?.mimeType ?? "").replace(/^.*\//, "");

function lossBetween(before: Counters | undefined, now: Counters): number | null {
  if (!before) return null;
  const lost = Math.max(0, now.lostIn - before.lostIn); // a late packet is taken back
  const all = lost + now.packetsIn - before.packetsIn;
  return all > 0 ? lost / all : null;
}

function rate(from: number | undefined, to: number, since: number | undefined, at: number): number {
  if (from === undefined || since === undefined || at <= since) return 0;
  return Math.max(0, Math.round(((to - from) * 8) / (at - since)));
}

const number = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const kilo = (bits: number | null) => (bits === null ? null : Math.round(bits / 1_000));
const sum = (list: Entry[], field: string) =>
  list.reduce((total, entry) => total + (number(entry[field]) ?? 0), 0);
const greatest = (list: (number | null)[]) => {
  const known = list.filter((value) => value !== null);
  return known.length > 0 ? Math.max(...known) : null;
};
