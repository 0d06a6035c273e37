/** Measures every connection in turn, and gives each its part of the one uplink. */
import { divide, nextUplink, type Shape, type Sources, uplink } from "./budget.ts";
import type { Peer } from "./peer.ts";
import { createGauge, type Gauge, type Quality, unknownQuality } from "./quality.ts";

export interface Uplink {
  quality(peerId: string): Quality;
  /** Divides anew at once: someone came, went, or shows something else. */
  divide(): void;
  stop(): void;
}

const everyMs = 2_000;

export function createUplink(
  peers: ReadonlyMap<string, Peer>,
  sources: () => Sources,
  onChange: () => void,
): Uplink {
  const gauges = new Map<string, Gauge>();
  const qualities = new Map<string, Quality>();
  let kbps: number = uplink.startKbps;
  let shapes = new Map<string, Shape>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;

  const links = () =>
    [...peers.values()].map((peer) => {
      const { availableKbps, lossOut } = qualities.get(peer.id) ?? unknownQuality;
      return { id: peer.id, wish: peer.wish(), availableKbps, loss: lossOut };
    });

  function give(): void {
    shapes = divide(kbps, links(), sources(), shapes);
    for (const [id, shape] of shapes) peers.get(id)?.shape(shape);
  }

  async function measure(peer: Peer): Promise<void> {
    const gauge = gauges.get(peer.id) ?? createGauge();
    gauges.set(peer.id, gauge);
    const report = await peer.connection().getStats();
    qualities.set(peer.id, gauge.read(report as unknown as Iterable<[string, unknown]>, performance.now()));
  }

  async function round(): Promise<void> {
    await Promise.allSettled([...peers.values()].map(measure));
    if (stopped) return;
    for (const id of [...gauges.keys()]) {
      if (peers.has(id)) continue;
      gauges.delete(id);
      qualities.delete(id);
    }
    const sent = [...qualities.values()].reduce((sum, { kbpsOut }) => sum + kbpsOut, 0);
    kbps = nextUplink(kbps, links(), sent);
    give();
    onChange();
    timer = setTimeout(() => void round(), everyMs);
  }

  timer = setTimeout(() => void round(), everyMs);

  return {
    quality: (peerId) => qualities.get(peerId) ?? unknownQuality,
    divide: give,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
