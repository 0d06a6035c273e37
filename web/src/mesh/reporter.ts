/**
 * Tells the server how it stands with our connections, so that who knows both sides of a pair can have it mended.
 * It has no timer: it is called whenever something changes, which the statistics do every two seconds.
 */
import type { PairReport } from "./protocol.ts";

export const every = {
  /** The least time between two reports. */
  leastMs: 2_000,
  /** While a pair is not well. */
  brokenMs: 5_000,
  /** In any case: what got lost between the servers is said again. */
  mostMs: 30_000,
} as const;

export interface Reporter {
  /** We are in the meeting, or again: the server may know nothing of us. */
  begin(): void;
  /** Something may have changed. */
  look(): void;
}

export interface ReporterOptions {
  /** Whether the server is there, and understands. */
  ready(): boolean;
  pairs(): PairReport[];
  send(pairs: PairReport[]): Promise<void>;
  onError(error: unknown): void;
}

export function createReporter(options: ReporterOptions): Reporter {
  let said = "";
  let at = 0;

  function due(pairs: PairReport[], since: number): boolean {
    if (pairs.length === 0 && said === "") return false;
    if (JSON.stringify(pairs) !== said || since >= every.mostMs) return true;
    return since >= every.brokenMs && pairs.some(broken);
  }

  return {
    begin() {
      said = "";
      at = performance.now(); // most connections are made by the time of the first report
    },
    look() {
      const now = performance.now();
      if (now - at < every.leastMs || !options.ready()) return;
      const pairs = options.pairs();
      if (!due(pairs, now - at)) return;
      said = JSON.stringify(pairs);
      at = now;
      options.send(pairs).catch((error) => {
        said = ""; // to be said again
        options.onError(error);
      });
    },
  };
}

const broken = ({ state, hears }: PairReport) => state !== "refused" && !(state === "connected" && hears);
